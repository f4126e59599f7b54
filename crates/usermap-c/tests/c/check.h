/* What the tests have in common: a check that says where it failed. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <usermap.h>

#define CHECK(condition)                                                                  \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__,     \
				#condition, errno);                                       \
			_exit(1);                                                         \
		}                                                                         \
	} while (0)

/* A call that fails: the negative error number is returned, and errno has it, too. */
#define FAILS(error, call)                                                                \
	do {                                                                              \
		errno = 0;                                                                \
		long long result_ = (call);                                               \
		if (result_ != -(error) || errno != (error)) {                            \
			fprintf(stderr, "%s:%d: %s is %lld with errno %d, not %s\n",      \
				__FILE__, __LINE__, #call, result_, errno, #error);       \
			_exit(1);                                                         \
		}                                                                         \
	} while (0)

static inline int hash_of(uint32_t entries)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "test", 4, 8, entries, NULL);
	CHECK(fd >= 3);
	return fd;
}

static inline void put(int fd, uint32_t key, uint64_t value)
{
	CHECK(bpf_map_update_elem(fd, &key, &value, BPF_ANY) == 0);
}

static inline uint64_t got(int fd, uint32_t key)
{
	uint64_t value = 0;
	CHECK(bpf_map_lookup_elem(fd, &key, &value) == 0);
	return value;
}

#endif
