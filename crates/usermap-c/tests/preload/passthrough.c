/* What usermap refuses goes to the kernel, and the rest does not: an LRU hash is the kernel's, a hash
 * usermap's. Prints what each answers and whose it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int create(unsigned type)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 16;
	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static union bpf_attr element(int fd, uint32_t *key, uint64_t *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	return attr;
}

static const char *told(long result)
{
	return result < 0 ? strerror(errno) : "done";
}

/* A map of usermap's is a file, which no map of the kernel's is. */
static const char *whose(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? "usermap's" : "the kernel's";
}

static void use(const char *name, unsigned type)
{
	uint32_t key = 7, next = 0;
	uint64_t value = 42;
	int fd = create(type);

	if (fd < 0) {
		printf("%s: %s\n", name, strerror(errno));
		return;
	}
	union bpf_attr attr = element(fd, &key, &value);
	printf("%s: update %s", name, told(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr))));
	value = 0;
	long result = syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
	printf(", lookup %s %d", told(result), (int)value);
	attr.next_key = (uintptr_t)&next;
	attr.key = 0;
	result = syscall(SYS_bpf, BPF_MAP_GET_NEXT_KEY, &attr, sizeof(attr));
	printf(", first key %s %u", told(result), next);
	printf(", %s\n", whose(fd));
	close(fd);
}

int main(void)
{
	use("hash", BPF_MAP_TYPE_HASH);
	use("LRU hash", BPF_MAP_TYPE_LRU_HASH);
	/* Usermap's own errors are the answer where the object is its own. */
	uint32_t key = 0;
	uint64_t value = 0;
	int fd = create(BPF_MAP_TYPE_HASH);
	union bpf_attr attr = element(fd, &key, &value);
	printf("no key: %s\n", told(syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr))));
	attr.map_fd = 99;
	printf("no descriptor: %s\n", told(syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr))));
	return 0;
}
