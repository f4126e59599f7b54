/* A program of about 1,000 instructions, for the time that loading takes: arithmetic, branches,
 * the packet, maps, a subprogram. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, __u64);
} table SEC(".maps");

static __noinline __u64 mix(__u64 a, __u64 b)
{
    a = (a ^ b >> 7) * 0x9E3779B97F4A7C15ULL;
    return a ^ a >> 31;
}

static __always_inline __u64 step(__u8 *data, __u8 *end, int number, __u64 state)
{
    __u32 key = state & 1023;
    __u64 *value;

    if (data + 14 + number * 4 + 4 > end)
        return state;
    state += *(__u32 *)(data + 14 + number * 4);
    if (state & 1)
        state = mix(state, number);
    value = number & 1 ? bpf_map_lookup_elem(&counters, &key) : bpf_map_lookup_elem(&table, &key);
    if (value)
        __sync_fetch_and_add(value, state >> 60);
    return state ^ state << 3;
}

SEC("xdp") int large(struct xdp_md *context)
{
    __u8 *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u64 state = context->rx_queue_index;

#pragma clang loop unroll(full)
    for (int i = 0; i < 35; i++)
        state = step(data, end, i, state);
    return state & 1 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
