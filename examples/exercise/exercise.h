/* What the programs of this folder share: a map of results, by index. */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __s64);
} results SEC(".maps");

static __always_inline void put(__u32 index, __s64 result)
{
    bpf_map_update_elem(&results, &index, &result, BPF_ANY);
}

static __always_inline void add(__u32 index, __s64 amount)
{
    __s64 *result = bpf_map_lookup_elem(&results, &index);

    if (result)
        *result += amount;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif
