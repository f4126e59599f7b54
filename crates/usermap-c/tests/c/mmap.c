/* mmap(2) of an array's values, as the kernel's MMAPABLE arrays have it. */
#include "check.h"

static int array_of(uint32_t flags)
{
	struct bpf_map_create_opts opts = {.sz = sizeof(opts), .map_flags = flags};
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "values", 4, 8, 1000, &opts);
	CHECK(fd >= 3);
	return fd;
}

static void *map(int fd, int protection, int flags)
{
	errno = 0;
	return mmap(NULL, 8000, protection, flags, fd, 0);
}

#define REFUSED(error, call) CHECK((call) == MAP_FAILED && errno == (error))

int main(void)
{
	int fd = array_of(BPF_F_MMAPABLE), plain = array_of(0);
	uint32_t key = 7;
	uint64_t value = 77;

	uint64_t *values = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(values != MAP_FAILED && values[7] == 0);
	values[999] = 5;
	CHECK(got(fd, 999) == 5);
	CHECK(bpf_map_update_elem(fd, &key, &value, 0) == 0 && values[7] == 77);
	/* A writable mapping stands in the way of freezing; and it outlives the descriptor's copies. */
	FAILS(EBUSY, bpf_map_freeze(fd));
	int copy = dup(fd);
	uint64_t *reader = map(copy, PROT_READ, MAP_SHARED);
	CHECK(reader != MAP_FAILED && close(copy) == 0 && reader[7] == 77);
	pid_t child = fork();
	if (child == 0) {
		values[8] = 88;
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(reader[8] == 88 && got(fd, 8) == 88);
	CHECK(munmap(values, 8000) == 0 && munmap(reader, 8000) == 0);

	REFUSED(EINVAL, map(plain, PROT_READ, MAP_SHARED));
	REFUSED(EINVAL, map(fd, PROT_READ, MAP_PRIVATE));
	CHECK(bpf_map_freeze(fd) == 0);
	REFUSED(EPERM, map(fd, PROT_READ | PROT_WRITE, MAP_SHARED));
	reader = map(fd, PROT_READ, MAP_SHARED);
	CHECK(reader != MAP_FAILED && close(fd) == 0 && reader[999] == 5);
	close(plain);

	/* What is no map's is the kernel's. */
	int file = open("/proc/self/exe", O_RDONLY);
	char *header = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
	CHECK(header != MAP_FAILED && memcmp(header, "\177ELF", 4) == 0);
	CHECK(munmap(header, 4096) == 0 && close(file) == 0);
	puts("ok");
	return 0;
}
