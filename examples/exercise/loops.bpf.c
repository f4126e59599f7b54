/* Loops: bpf_loop, bpf_for_each_map_elem, and bounded ones, early ends included. */
#include "exercise.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} hash SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, __u64);
} array SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, __u64);
} percpu SEC(".maps");

struct sum {
    __u64 sum;
    __u64 count;
    __u64 stop_at;
};

/* The verifier follows counters that it knows through every turn: it must not know these. */
volatile __u64 zero = 0, seven = 7, three = 3;

static long add_index(__u64 index, struct sum *sum)
{
    sum->sum += index;
    sum->count++;
    return sum->count == sum->stop_at;
}

static long add_entry(void *map, const __u32 *key, __u64 *value, struct sum *sum)
{
    sum->sum += *key * 1000 + *value;
    sum->count++;
    *value += 1;
    return sum->count == sum->stop_at;
}

static long delete_odd(void *map, const __u32 *key, __u64 *value, void *context)
{
    if (*key & 1)
        bpf_map_delete_elem(map, key);
    return 0;
}

static long inner(__u64 index, __u64 *count)
{
    *count += index;
    return 0;
}

static long outer(__u64 index, __u64 *count)
{
    bpf_loop(5, inner, count, 0);
    return 0;
}

SEC("tc")
int loop(struct __sk_buff *skb)
{
    struct sum all = { .count = zero }, some = { .count = zero, .stop_at = seven };
    __u64 nested = 0;

    put(0, bpf_loop(1000, add_index, &all, 0));
    put(1, all.sum);
    put(2, bpf_loop(1000, add_index, &some, 0));
    put(3, some.sum);
    put(4, bpf_loop(0, add_index, &some, 0));
    put(5, bpf_loop(1 << 24, add_index, &some, 0));
    put(6, bpf_loop(1, add_index, &some, 1));
    put(7, bpf_loop(4, outer, &nested, 0));
    put(8, nested);
    return TC_ACT_OK;
}

SEC("tc")
int for_each(struct __sk_buff *skb)
{
    struct sum in_hash = { .count = zero }, in_array = { .count = zero };
    struct sum in_percpu = { .count = zero }, first = { .count = zero, .stop_at = three };

    for (__u32 i = 0; i < 8; i++) {
        __u32 key = i;
        __u64 value = i * 2;

        bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
        bpf_map_update_elem(&array, &key, &value, BPF_ANY);
        bpf_map_update_elem(&percpu, &key, &value, BPF_ANY);
    }
    put(10, bpf_for_each_map_elem(&hash, add_entry, &in_hash, 0));
    put(11, in_hash.sum);
    put(12, bpf_for_each_map_elem(&array, add_entry, &in_array, 0));
    put(13, in_array.sum);
    put(14, bpf_for_each_map_elem(&percpu, add_entry, &in_percpu, 0));
    put(15, in_percpu.sum);
    put(16, bpf_for_each_map_elem(&array, add_entry, &first, 0));
    put(17, bpf_for_each_map_elem(&array, add_entry, &first, 1));
    put(18, bpf_for_each_map_elem(&hash, delete_odd, NULL, 0));
    return TC_ACT_OK;
}

SEC("tc")
int bounded(struct __sk_buff *skb)
{
    __u64 sum = 0;

    for (__u32 i = 0; i < 100; i++) {
        sum += i * skb->len;
        barrier_var(sum);
    }
    put(20, sum);
    return TC_ACT_OK;
}
