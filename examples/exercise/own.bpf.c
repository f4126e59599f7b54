/* What usermap has and Linux lacks: helpers that add, that take entries out, and that work on many
 * at once; queues and stacks for each CPU slot. */
#include "exercise.h"
#include "usermap_helpers.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} hash SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u8);
} bytes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u64);
} percpu SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_QUEUE);
    __uint(max_entries, 3);
    __type(value, __u64);
} queues SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_STACK);
    __uint(max_entries, 3);
    __type(value, __u64);
} stacks SEC(".maps");

SEC("tc")
int increments(struct __sk_buff *skb)
{
    __u32 key = 1, absent = 9;
    __u64 value = 0;

    put(0, bpf_map_inc(&hash, &key, skb->len, BPF_ANY));
    put(1, bpf_map_inc_and_return(&hash, &key, 2, &value, BPF_ANY));
    put(2, value - skb->len);
    put(3, bpf_map_inc(&hash, &absent, 1, BPF_EXIST));
    put(4, bpf_map_inc(&bytes, &key, 255, BPF_ANY));
    put(5, bpf_map_inc_and_return(&bytes, &key, 3, &value, BPF_ANY));
    put(6, value);
    put(7, bpf_map_inc(&percpu, &key, 5, BPF_ANY));
    put(8, bpf_map_inc(&percpu, &absent, 5, BPF_ANY));
    return TC_ACT_OK;
}

SEC("tc")
int take_out(struct __sk_buff *skb)
{
    __u32 key = 2;
    __u64 value = 17;

    bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
    value = 0;
    put(10, bpf_map_lookup_and_delete_elem(&hash, &key, &value));
    put(11, value);
    put(12, bpf_map_lookup_and_delete_elem(&hash, &key, &value));
    return TC_ACT_OK;
}

SEC("tc")
int batches(struct __sk_buff *skb)
{
    __u32 keys[4] = { 11, 12, 13, 14 }, count = 4;
    __u64 values[4] = { 111, 112, 113, 114 };

    put(30, bpf_map_update_batch(&hash, keys, values, &count, BPF_ANY));
    put(31, count);
    keys[2] = 99;
    put(32, bpf_map_lookup_batch(&hash, keys, values, &count, 0));
    put(33, count);
    put(34, values[0] + values[1]);
    keys[2] = 13;
    count = 3;
    put(35, bpf_map_delete_batch(&hash, keys, &count, 0));
    put(36, count);
    return TC_ACT_OK;
}

SEC("tc")
int percpu_rings(struct __sk_buff *skb)
{
    __u64 value;
    __s64 pushed = 0;

    for (__u64 i = 1; i <= 4; i++) {
        value = i;
        pushed += bpf_map_push_elem(&queues, &value, BPF_EXIST);
        pushed += bpf_map_push_elem(&stacks, &value, BPF_EXIST);
    }
    put(20, pushed);
    put(21, bpf_map_peek_elem(&queues, &value) ?: value);
    put(22, bpf_map_pop_elem(&queues, &value) ?: value);
    put(23, bpf_map_pop_elem(&stacks, &value) ?: value);
    return TC_ACT_OK;
}
