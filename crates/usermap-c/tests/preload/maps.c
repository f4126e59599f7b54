/* Maps by libbpf's functions: walks, batches, rings, per-CPU values, memory mappings, ids, forks. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRIES 1000
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s: %s\n", __LINE__, #condition, strerror(errno)); \
            exit(1); \
        } \
    } while (0)

static int create(enum bpf_map_type type, __u32 key, __u32 value, __u32 entries, __u32 flags)
{
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);
    int fd = bpf_map_create(type, "judge", key, value, entries, &options);

    CHECK(fd > 2);
    return fd;
}

static void fill(int fd)
{
    for (__u32 key = 0; key < ENTRIES; key++) {
        __u64 value = key * 3;

        CHECK(!bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST));
    }
}

static void walk(int fd)
{
    __u32 key, next, count = 0;
    __u32 *last = NULL;

    /* Each key is deleted as soon as the one behind it is known. */
    while (!bpf_map_get_next_key(fd, last, &next)) {
        if (last)
            CHECK(!bpf_map_delete_elem(fd, last));
        key = next;
        last = &key;
        count++;
    }
    CHECK(errno == ENOENT);
    CHECK(!bpf_map_delete_elem(fd, last));
    CHECK(bpf_map_get_next_key(fd, NULL, &next) && errno == ENOENT);
    printf("walk: %u entries\n", count);
}

static void drain(int fd)
{
    static __u32 keys[ENTRIES];
    static __u64 values[ENTRIES];
    __u32 token, count, total = 0;
    __u64 sum = 0;
    int error, first = 1;

    do {
        count = 100;
        error = bpf_map_lookup_and_delete_batch(fd, first ? NULL : &token, &token, keys, values,
                                                &count, NULL);
        first = 0;
        CHECK(!error || errno == ENOENT || errno == ENOSPC);
        if (error && errno == ENOSPC)
            break;
        for (__u32 at = 0; at < count; at++)
            sum += values[at];
        total += count;
    } while (!error);
    CHECK(bpf_map_get_next_key(fd, NULL, &token));
    printf("batch: %u entries, sum %llu\n", total, (unsigned long long)sum);

    count = ENTRIES;
    for (__u32 at = 0; at < ENTRIES; at++)
        keys[at] = at, values[at] = at;
    CHECK(!bpf_map_update_batch(fd, keys, values, &count, NULL) && count == ENTRIES);
    count = ENTRIES;
    CHECK(!bpf_map_delete_batch(fd, keys, &count, NULL) && count == ENTRIES);
}

static void rings(void)
{
    int queue = create(BPF_MAP_TYPE_QUEUE, 0, 4, 2, 0);
    int stack = create(BPF_MAP_TYPE_STACK, 0, 4, 2, 0);
    __u32 first, last;

    for (__u32 value = 1; value <= 2; value++) {
        CHECK(!bpf_map_update_elem(queue, NULL, &value, 0));
        CHECK(!bpf_map_update_elem(stack, NULL, &value, 0));
    }
    CHECK(bpf_map_update_elem(queue, NULL, &first, 0) && errno == E2BIG);
    CHECK(!bpf_map_lookup_elem(queue, NULL, &first) && first == 1);
    CHECK(!bpf_map_lookup_and_delete_elem(queue, NULL, &first));
    CHECK(!bpf_map_lookup_and_delete_elem(stack, NULL, &last));
    printf("rings: %u and %u\n", first, last);
    close(queue);
    close(stack);
}

static void every_cpu(void)
{
    int fd = create(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2, 0), cpus = libbpf_num_possible_cpus();
    __u64 *values = calloc(cpus, 8), *found = calloc(cpus, 8);
    __u32 key = 5;

    for (int cpu = 0; cpu < cpus; cpu++)
        values[cpu] = cpu + 1;
    CHECK(!bpf_map_update_elem(fd, &key, values, 0));
    CHECK(!bpf_map_lookup_elem(fd, &key, found));
    CHECK(!memcmp(values, found, cpus * 8));
    puts("per CPU: every value is back");
    close(fd);
}

static void mapped(void)
{
    int fd = create(BPF_MAP_TYPE_ARRAY, 4, 8, 512, BPF_F_MMAPABLE);
    __u64 value, *values;
    __u32 key = 511;

    values = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(values != MAP_FAILED);
    values[511] = 77;
    CHECK(!bpf_map_lookup_elem(fd, &key, &value) && value == 77);
    value = 78;
    CHECK(!bpf_map_update_elem(fd, &key, &value, 0) && values[511] == 78);
    CHECK(bpf_map_freeze(fd) && errno == EBUSY);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(!munmap(values, 4096));
    CHECK(!bpf_map_freeze(fd));
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    values = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(values != MAP_FAILED && values[511] == 78);
    CHECK(mprotect(values, 4096, PROT_READ | PROT_WRITE) && errno == EACCES);
    close(fd);
    CHECK(values[511] == 78);
    CHECK(!munmap(values, 4096));
    puts("mmap: values are memory");
}

static void ids(int fd)
{
    struct bpf_map_info info = {};
    __u32 size = sizeof(info), id = 0, found = 0;
    int again;

    CHECK(!bpf_obj_get_info_by_fd(fd, &info, &size));
    CHECK(info.max_entries == ENTRIES && info.key_size == 4 && info.value_size == 8);
    while (!bpf_map_get_next_id(id, &id))
        found += id == info.id;
    CHECK(errno == ENOENT && found == 1);
    again = bpf_map_get_fd_by_id(info.id);
    CHECK(again > 2 && again != fd);
    close(again);
    puts("ids: it is among all");
}

static void forks(int fd)
{
    __u32 key = 1;
    __u64 value = 9;
    int status, copy = dup(fd);
    pid_t child = fork();

    if (!child) {
        CHECK(!bpf_map_update_elem(copy, &key, &value, 0));
        close(fd);
        CHECK(bpf_map_update_elem(fd, &key, &value, 0) && errno == EBADF);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && !status);
    value = 0;
    CHECK(!bpf_map_lookup_elem(fd, &key, &value) && value == 9);
    close(copy);
    puts("forks: the child's entry is there");
}

int main(void)
{
    int fd = create(BPF_MAP_TYPE_HASH, 4, 8, ENTRIES, 0);

    fill(fd);
    walk(fd);
    fill(fd);
    drain(fd);
    rings();
    every_cpu();
    mapped();
    ids(fd);
    forks(fd);
    close(fd);
    CHECK(bpf_map_freeze(fd) && errno == EBADF);
    return 0;
}
