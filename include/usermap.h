/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * usermap.h: eBPF maps in user space, for C and C++.
 *
 * Link with `pkg-config --cflags --libs usermap`. The library has the map functions of libbpf's
 * <bpf/bpf.h> under their own names and with their own conventions: a result of 0 or more, or a
 * negative error number, which errno gets, too. That header is included where there is one, else
 * the same functions are declared below. Here are also the functions that Linux lacks; their names
 * begin with usermap_.
 *
 * A map is a file descriptor, and nothing more: close it, dup it, inherit it over fork and exec
 * (without FD_CLOEXEC), send it over a socket. Every function may be called by any thread at any
 * time, for the same map and the same descriptor, too. A pointer to memory that cannot be accessed
 * gives -EFAULT, a descriptor that is not open -EBADF, one that is no map -EINVAL.
 *
 * All sizes are bytes. Keys and values are copied; where they are does not matter.
 */
#ifndef USERMAP_H
#define USERMAP_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_include) && !defined(USERMAP_WITHOUT_LIBBPF)
#if __has_include(<bpf/bpf.h>)
#include <bpf/bpf.h>
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of our own begin here ("UM"), outside of the kernel's ranges, and are never reused. */
#ifndef USERMAP_PRIVATE_BASE
#define USERMAP_PRIVATE_BASE 0x554D0001
#endif

/* Map types that Linux lacks, besides those of enum bpf_map_type. */

/* A stack for each CPU slot. */
#define USERMAP_PERCPU_STACK (USERMAP_PRIVATE_BASE + 0)
/* A queue for each CPU slot. */
#define USERMAP_PERCPU_QUEUE (USERMAP_PRIVATE_BASE + 1)

/*
 * For the flags of usermap_map_push, _pop and _peek, and of bpf_map_update_elem and _lookup_elem_flags
 * on these types: the slot of this CPU instead of that of the CPU that the thread runs on.
 */
#define USERMAP_ON_CPU(cpu) (8ULL | (uint64_t)(cpu) << 32)

/* ---- Making and finding maps ------------------------------------------------------------- */

/*
 * For own_flags: in pages of 2 MiB, as far as they can be had. In large maps operations take less time
 * then, but all of the map's memory is taken at once, 1 to 2 ms for each 2 MiB; without, pages are taken
 * as they are used, and BPF_F_NO_PREALLOC, which asks for that, gives -EINVAL with this. To be refused
 * them is no error: usermap_map_huge_bytes says how many there are.
 */
#define USERMAP_HUGE_PAGES (1ULL << 0)

/* Options, which may grow. */
struct usermap_create_opts {
	size_t sz;          /* sizeof(struct usermap_create_opts) */
	uint32_t map_flags; /* BPF_F_... */
	uint32_t cpus;      /* slots of a per-CPU map; 0 for as many as the machine can have */
	uint64_t own_flags; /* USERMAP_HUGE_PAGES, or 0 */
};

/*
 * A new map, as bpf_map_create makes it: a nameless file, gone with its last descriptor. name and
 * opts may be NULL. Gives a descriptor.
 */
int usermap_map_create(uint32_t type, const char *name, uint32_t key_size,
		       uint32_t value_size, uint32_t max_entries,
		       const struct usermap_create_opts *opts);

/*
 * A new map in a file of this path; a bare name is one in usermap's default folder
 * ($USERMAP_DIR, or a folder of the user's own on a tmpfs). The file is there whole or not at all.
 * -EEXIST if there is something of that name. It lasts until it is removed like every file.
 */
int usermap_map_create_pinned(const char *path, uint32_t type, const char *name,
			      uint32_t key_size, uint32_t value_size, uint32_t max_entries,
			      const struct usermap_create_opts *opts);

/*
 * The map in the file of this path, or a new one. Of several processes that call it at once, one
 * creates and the others open. -EEXIST if the map that is there has another type, size or flags.
 */
int usermap_map_open_or_create(const char *path, uint32_t type, const char *name,
			       uint32_t key_size, uint32_t value_size, uint32_t max_entries,
			       const struct usermap_create_opts *opts);

/* The map in the file of this path. flags are BPF_F_RDONLY, BPF_F_WRONLY, or 0 for both ways. */
int usermap_map_open(const char *path, uint32_t flags);

/* ---- Numbers ------------------------------------------------------------------------------ */

/*
 * Adds delta to the number that a key's value is, atomically, with wrap-around. The number is as wide
 * as the map's values: 1, 2, 4 or 8 bytes. In a per-CPU map it is that of this CPU. Of flags,
 *     BPF_ANY      makes an absent key, which counts from 0
 *     BPF_EXIST    gives -ENOENT for an absent key
 *     BPF_NOEXIST  gives -EEXIST for a present one
 */
int usermap_map_inc(int fd, const void *key, uint64_t delta, uint64_t flags);

/* The same, and writes the sum to *value, which an error leaves as it is. */
int usermap_map_inc_and_return(int fd, const void *key, uint64_t delta, uint64_t *value,
			       uint64_t flags);

/* ---- Queues and stacks ---------------------------------------------------------------------- */

/* Adds a value. -E2BIG if there is no room, unless flags have BPF_EXIST: then the oldest goes. */
int usermap_map_push(int fd, const void *value, uint64_t flags);

/* Takes the next value out: a queue's oldest, a stack's newest. -ENOENT if there is none. */
int usermap_map_pop(int fd, void *value, uint64_t flags);

/* Copies the next value, and leaves it where it is. */
int usermap_map_peek(int fd, void *value, uint64_t flags);

/* Values in one slot of a per-CPU queue or stack. */
int64_t usermap_map_len_on(int fd, uint32_t cpu);

/* ---- Many entries at once ---------------------------------------------------------------------- */

/*
 * None of these is one moment: each entry's change is whole, and what others do meanwhile may be seen
 * or not. They give the number of entries, or a negative error number.
 */

/*
 * What is called for each entry; anything but 0 ends the walk. The pointers are good until it
 * returns, which it must: neither by longjmp nor by an exception may it be left.
 */
typedef int (*usermap_visit_fn)(const void *key, const void *value, void *context);

/* Visits every entry of a hash, in no order, or of an array, by index. */
int64_t usermap_map_for_each(int fd, usermap_visit_fn visit, void *context);

/*
 * Visits the entries from key first to key last, both included: in a hash in the order of the keys'
 * bytes, in an array by index.
 */
int64_t usermap_map_lookup_range(int fd, const void *first, const void *last,
				 usermap_visit_fn visit, void *context);

/* Sets the value of every entry that is there from key first to key last. */
int64_t usermap_map_update_range(int fd, const void *first, const void *last, const void *value);

/* Deletes every entry from key first to key last; in an array, sets their values to 0. */
int64_t usermap_map_delete_range(int fd, const void *first, const void *last);

/* Removes every entry; in an array, sets all values to 0. */
int64_t usermap_map_clear(int fd);

/* ---- The map itself ------------------------------------------------------------------------- */

/* Entries now, in constant time; an array always has max_entries. */
int64_t usermap_map_len(int fd);

/* Bytes that lookups write and updates read: of a per-CPU map, those of all its slots. */
int64_t usermap_map_value_bytes(int fd);

/* CPU slots; 1 unless the map is per CPU. */
int usermap_map_cpus(int fd);

/* Bytes of the map that are in pages of 2 MiB now. It takes a while: the system is asked. */
int64_t usermap_map_huge_bytes(int fd);

/* Writes a map in a file to its disk, so that it outlives a power failure. */
int usermap_map_sync(int fd);

/* ---- libbpf's functions, for those without its headers -------------------------------------------- */

#ifndef __LIBBPF_BPF_H

struct bpf_map_create_opts {
	size_t sz;
	__u32 btf_fd;
	__u32 btf_key_type_id;
	__u32 btf_value_type_id;
	__u32 btf_vmlinux_value_type_id;
	__u32 inner_map_fd;
	__u32 map_flags;
	__u64 map_extra;
	__u32 numa_node;
	__u32 map_ifindex;
};

struct bpf_map_batch_opts {
	size_t sz;
	__u64 elem_flags;
	__u64 flags;
};

struct bpf_obj_get_opts {
	size_t sz;
	__u32 file_flags;
	int path_fd;
};

struct bpf_get_fd_by_id_opts {
	size_t sz;
	__u32 open_flags;
	size_t : 0;
};

int bpf_map_create(enum bpf_map_type map_type, const char *map_name, __u32 key_size,
		   __u32 value_size, __u32 max_entries, const struct bpf_map_create_opts *opts);
int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int bpf_map_lookup_elem_flags(int fd, const void *key, void *value, __u64 flags);
int bpf_map_lookup_and_delete_elem(int fd, const void *key, void *value);
int bpf_map_lookup_and_delete_elem_flags(int fd, const void *key, void *value, __u64 flags);
int bpf_map_delete_elem(int fd, const void *key);
int bpf_map_delete_elem_flags(int fd, const void *key, __u64 flags);
int bpf_map_get_next_key(int fd, const void *key, void *next_key);
int bpf_map_freeze(int fd);
int bpf_map_delete_batch(int fd, const void *keys, __u32 *count,
			 const struct bpf_map_batch_opts *opts);
int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values,
			 __u32 *count, const struct bpf_map_batch_opts *opts);
int bpf_map_lookup_and_delete_batch(int fd, void *in_batch, void *out_batch, void *keys,
				    void *values, __u32 *count,
				    const struct bpf_map_batch_opts *opts);
int bpf_map_update_batch(int fd, const void *keys, const void *values, __u32 *count,
			 const struct bpf_map_batch_opts *opts);
int bpf_obj_pin(int fd, const char *pathname);
int bpf_obj_get(const char *pathname);
int bpf_obj_get_opts(const char *pathname, const struct bpf_obj_get_opts *opts);
int bpf_map_get_next_id(__u32 start_id, __u32 *next_id);
int bpf_map_get_fd_by_id(__u32 id);
int bpf_map_get_fd_by_id_opts(__u32 id, const struct bpf_get_fd_by_id_opts *opts);
int bpf_obj_get_info_by_fd(int bpf_fd, void *info, __u32 *info_len);

#endif /* __LIBBPF_BPF_H */

#ifndef __LIBBPF_LIBBPF_H
/* Values of an element of a per-CPU map. */
int libbpf_num_possible_cpus(void);
#endif

#ifdef __cplusplus
}
#endif

#endif /* USERMAP_H */
