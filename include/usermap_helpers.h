/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * usermap_helpers.h: what eBPF programs can use of usermap that Linux lacks.
 *
 * Include it after <linux/bpf.h> (or vmlinux.h) and <bpf/bpf_helpers.h>:
 *
 *     #include <linux/bpf.h>
 *     #include <bpf/bpf_helpers.h>
 *     #include <usermap_helpers.h>
 *
 * A program built like that runs in usermap. The same source runs in the kernel when it is built
 * with -DUSERMAP_KERNEL: increments then unfold into a lookup, an atomic add, and an insert with
 * BPF_NOEXIST where the key is absent. What cannot be built from the kernel's helpers (map types
 * of our own, bpf_map_lookup_and_delete_elem, the batches) is left out then, so that a program
 * that uses it does not compile for the kernel.
 *
 * All functions give 0, or a negative error number.
 */
#ifndef USERMAP_HELPERS_H
#define USERMAP_HELPERS_H

/* Numbers of our own begin here ("UM"), outside of the kernel's ranges, and are never reused. */
#define USERMAP_PRIVATE_BASE 0x554D0001

#ifndef USERMAP_KERNEL

/* Map types, for __uint(type, ...). */

/* A stack for each CPU: push, pop and peek act on that of the CPU that the program runs on. */
#define BPF_MAP_TYPE_PERCPU_STACK (USERMAP_PRIVATE_BASE + 0)
/* A queue for each CPU. */
#define BPF_MAP_TYPE_PERCPU_QUEUE (USERMAP_PRIVATE_BASE + 1)

/*
 * Adds delta to the number that a key's value is, atomically, with the wrap-around of the kernel's
 * atomics. The number is as wide as the map's values: 1, 2, 4 or 8 bytes. In a per-CPU map it is
 * that of this CPU. Of flags,
 *     BPF_ANY      makes an absent key, which counts from 0
 *     BPF_EXIST    gives -ENOENT for an absent key
 *     BPF_NOEXIST  gives -EEXIST for a present one
 */
static long (*bpf_map_inc)(void *map, const void *key, __u64 delta, __u64 flags) =
	(void *)(USERMAP_PRIVATE_BASE + 0);

/* The same, and writes the sum to *value, which an error leaves as it is. */
static long (*bpf_map_inc_and_return)(void *map, const void *key, __u64 delta, __u64 *value,
				      __u64 flags) = (void *)(USERMAP_PRIVATE_BASE + 1);

/*
 * Takes a key out of a hash and writes its value (in a per-CPU map: this CPU's) to value. Only one
 * of several callers gets it. For queues and stacks it is bpf_map_pop_elem, and key is not used.
 * Where there is nothing to take, value becomes zeros and the result is -ENOENT.
 */
static long (*bpf_map_lookup_and_delete_elem)(void *map, const void *key, void *value) =
	(void *)(USERMAP_PRIVATE_BASE + 2);

/*
 * Batches: many entries in one call. keys is an array of *count keys and values one of *count
 * values, each as large as the map's, without gaps. A batch stops at the first entry that fails,
 * gives that entry's error, and sets *count to how many were done before. Per-CPU maps: the values
 * of this CPU. Each entry takes one instruction from the program's budget.
 */

/* Writes the value of each key to values; -ENOENT at a missing key. flags must be 0. */
static long (*bpf_map_lookup_batch)(void *map, const void *keys, void *values, __u32 *count,
				    __u64 flags) = (void *)(USERMAP_PRIVATE_BASE + 3);

/* Writes entries; flags are those of bpf_map_update_elem, for each entry. */
static long (*bpf_map_update_batch)(void *map, const void *keys, const void *values, __u32 *count,
				    __u64 flags) = (void *)(USERMAP_PRIVATE_BASE + 4);

/* Removes keys; -ENOENT at a missing key. flags must be 0. */
static long (*bpf_map_delete_batch)(void *map, const void *keys, __u32 *count, __u64 flags) =
	(void *)(USERMAP_PRIVATE_BASE + 5);

#else /* USERMAP_KERNEL */

#define USERMAP_ENOENT 2
#define USERMAP_EEXIST 17

/*
 * The kernel's verifier must know how wide values are when it compiles, so these two are macros:
 * T is the type of the map's values, which is taken from the map's definition (__type(value, T)).
 * The kernel's atomics are 4 or 8 bytes wide, so T is, too.
 */
#define USERMAP_VALUE_TYPE(map) __typeof__(*(map)->value)

#define bpf_map_inc(map, key, delta, flags)                                                        \
	({                                                                                         \
		USERMAP_VALUE_TYPE(map) usermap_sum;                                               \
		usermap_inc_or_insert(map, key, delta, &usermap_sum, flags);                       \
	})

#define bpf_map_inc_and_return(map, key, delta, value, flags)                                      \
	({                                                                                         \
		USERMAP_VALUE_TYPE(map) usermap_sum = 0;                                           \
		long usermap_result =                                                              \
			usermap_inc_or_insert(map, key, delta, &usermap_sum, flags);               \
		if (!usermap_result)                                                               \
			*(value) = usermap_sum;                                                    \
		usermap_result;                                                                    \
	})

/*
 * A key that is absent at the lookup may have come by the insert: then it is looked up once more.
 * One that goes between those two gives -ENOENT.
 */
#define usermap_inc_or_insert(map, key, delta, sum, flags)                                         \
	({                                                                                         \
		long usermap_error = 0;                                                            \
		USERMAP_VALUE_TYPE(map) usermap_delta = (delta);                                   \
		USERMAP_VALUE_TYPE(map) *usermap_value = bpf_map_lookup_elem(map, key);            \
		if (!usermap_value && (flags) != BPF_EXIST) {                                      \
			*(sum) = usermap_delta;                                                    \
			usermap_error = bpf_map_update_elem(map, key, &usermap_delta, BPF_NOEXIST);\
			if (usermap_error == -USERMAP_EEXIST && (flags) == BPF_ANY) {              \
				usermap_error = -USERMAP_ENOENT;                                   \
				usermap_value = bpf_map_lookup_elem(map, key);                     \
			}                                                                          \
		} else if (!usermap_value) {                                                       \
			usermap_error = -USERMAP_ENOENT;                                           \
		} else if ((flags) == BPF_NOEXIST) {                                               \
			usermap_error = -USERMAP_EEXIST;                                           \
			usermap_value = (void *)0;                                                 \
		}                                                                                  \
		if (usermap_value) {                                                               \
			*(sum) = __sync_fetch_and_add(usermap_value, usermap_delta) +              \
				 usermap_delta;                                                    \
			usermap_error = 0;                                                         \
		}                                                                                  \
		usermap_error;                                                                     \
	})

#endif /* USERMAP_KERNEL */

#endif /* USERMAP_HELPERS_H */
