/* One lookup by bpf(2), in one run: by the C library's syscall(), which libusermap answers where it is
 * preloaded, and by the system call itself, which the kernel answers. `./run` builds and runs it. */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 1024
#define LOOKUPS 100000
#define ROUNDS 15

typedef long (*caller)(int command, union bpf_attr *attr);

static long preloaded(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* Past the C library, so that nothing can come between. */
static long kernel(int command, union bpf_attr *attr)
{
#if defined(__x86_64__)
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_bpf), "D"((long)command), "S"(attr), "d"(sizeof(*attr))
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_bpf;
    register long result __asm__("x0") = command;
    register void *second __asm__("x1") = attr;
    register long third __asm__("x2") = sizeof(*attr);

    __asm__ volatile("svc 0" : "+r"(result) : "r"(number), "r"(second), "r"(third) : "memory");
#else
#error "no system call for this machine"
#endif
    return result;
}

static int create(caller call, int type, int key, int value)
{
    union bpf_attr attr = {};
    int fd;

    attr.map_type = type;
    attr.key_size = key;
    attr.value_size = value;
    attr.max_entries = 2 * ENTRIES;
    fd = call(BPF_MAP_CREATE, &attr);
    if (fd < 0) {
        fprintf(stderr, "no map: %d\n", fd);
        exit(2);
    }
    for (uint32_t entry = 0; entry < ENTRIES; entry++) {
        unsigned char name[64] = {}, content[64] = {};

        memcpy(name, &entry, sizeof(entry));
        memset(&attr, 0, sizeof(attr));
        attr.map_fd = fd;
        attr.key = (uintptr_t)name;
        attr.value = (uintptr_t)content;
        if (call(BPF_MAP_UPDATE_ELEM, &attr) < 0)
            exit(3);
    }
    return fd;
}

static double lookups(caller call, int fd)
{
    unsigned char key[64] = {}, value[64];
    union bpf_attr attr = {};
    struct timespec start, end;

    attr.map_fd = fd;
    attr.key = (uintptr_t)key;
    attr.value = (uintptr_t)value;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (uint32_t round = 0; round < LOOKUPS; round++) {
        uint32_t entry = round * 2654435761u % ENTRIES;

        memcpy(key, &entry, sizeof(entry));
        if (call(BPF_MAP_LOOKUP_ELEM, &attr) < 0)
            exit(4);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / LOOKUPS;
}

int main(void)
{
    static const struct {
        const char *name;
        int type, key, value;
    } maps[] = {
        { "hash 4/8", BPF_MAP_TYPE_HASH, 4, 8 },
        { "hash 16/64", BPF_MAP_TYPE_HASH, 16, 64 },
        { "array 4/8", BPF_MAP_TYPE_ARRAY, 4, 8 },
    };

    for (unsigned at = 0; at < sizeof(maps) / sizeof(maps[0]); at++) {
        int ours = create(preloaded, maps[at].type, maps[at].key, maps[at].value);
        int theirs = create(kernel, maps[at].type, maps[at].key, maps[at].value);
        double best_ours = 1e9, best_theirs = 1e9;

        for (int round = 0; round < ROUNDS; round++) {
            double time = lookups(preloaded, ours);

            best_ours = time < best_ours ? time : best_ours;
            time = lookups(kernel, theirs);
            best_theirs = time < best_theirs ? time : best_theirs;
        }
        printf("%-11s kernel %6.1f ns  usermap %5.1f ns  %5.1f times as fast\n", maps[at].name,
               best_theirs, best_ours, best_theirs / best_ours);
        close(ours);
        syscall(SYS_close, theirs);
    }
    return 0;
}
