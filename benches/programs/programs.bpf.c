/* What is measured: each program does its operation a number of times that its comment says. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define OPERATIONS 64
#define SMALL 1000
#define LARGE 1000000

#define MAP(name, kind, key_type, entries)                                                         \
    struct {                                                                                       \
        __uint(type, kind);                                                                        \
        __uint(max_entries, entries);                                                              \
        __type(key, key_type);                                                                     \
        __type(value, __u64);                                                                      \
    } name SEC(".maps")

struct key16 {
    __u64 a, b;
};

MAP(array, BPF_MAP_TYPE_ARRAY, __u32, 1024);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, 1024);
MAP(hash_1k, BPF_MAP_TYPE_HASH, __u32, SMALL);
MAP(hash_1m, BPF_MAP_TYPE_HASH, __u32, LARGE);
MAP(hash16_1k, BPF_MAP_TYPE_HASH, struct key16, SMALL);
MAP(percpu_hash_1k, BPF_MAP_TYPE_PERCPU_HASH, __u32, SMALL);

/* Numbers the operations of all runs. */
__u64 operations;
/* A pseudo-random number below `entries`: of the number of the operation, so that none waits for
 * the one before it. */
static __always_inline __u32 pick(__u64 number, __u32 entries)
{
    __u64 mixed = number * 0x9E3779B97F4A7C15ULL;

    mixed ^= mixed >> 29;
    mixed *= 0xBF58476D1CE4E5B9ULL;
    return (mixed >> 32) * entries >> 32;
}

#define LOOP(count) _Pragma("clang loop unroll(disable)") for (int i = 0; i < (count); i++)

/* Nothing. */
SEC("xdp") int empty(struct xdp_md *context)
{
    return XDP_PASS;
}

/* 1024 rounds of a mixing function. */
SEC("xdp") int compute(struct xdp_md *context)
{
    __u64 a = context->rx_queue_index, b = 1;

    LOOP(1024)
    {
        a = (a ^ a >> 29) * 0xBF58476D1CE4E5B9ULL + b;
        b = (b << 7 | b >> 57) + (a >> 32);
    }
    return (a ^ b) & 1 ? XDP_PASS : XDP_DROP;
}

/* The sum of the packet's first 1024 bytes in steps of 2, each asked for before. */
SEC("xdp") int checksum(struct xdp_md *context)
{
    void *end = (void *)(long)context->data_end;
    __u16 *at = (void *)(long)context->data;
    __u64 sum = 0;

    LOOP(512)
    {
        if ((void *)(at + 1) > end)
            break;
        sum += *at++;
    }
    return sum & 1 ? XDP_PASS : XDP_DROP;
}

/* The same, asked for once, in pieces of 16. */
SEC("xdp") int checksum_unrolled(struct xdp_md *context)
{
    void *end = (void *)(long)context->data_end;
    __u16 *at = (void *)(long)context->data;
    __u64 sum = 0;

    if ((void *)(at + 512) > end)
        return XDP_ABORTED;
    for (int i = 0; i < 512; i += 16) {
        asm volatile("" : "+r"(i));
#pragma clang loop unroll(full)
        for (int j = 0; j < 16; j++)
            sum += at[j];
        at += 16;
    }
    return sum & 1 ? XDP_PASS : XDP_DROP;
}

/* 64 words written to the stack, mixed and summed, 8 times. */
SEC("xdp") int stack(struct xdp_md *context)
{
    volatile __u32 words[64];
    __u32 sum = context->rx_queue_index;

    LOOP(64)
    words[i & 63] = sum + i;
    LOOP(512)
    {
        sum += words[i & 63];
        words[i & 63] = sum ^ i;
    }
    return sum & 1 ? XDP_PASS : XDP_DROP;
}

#define COUNTER(name, map, key_type, set_key, entries, add)                                        \
    __u32 filled_##name;                                                                           \
    SEC("xdp") int name(struct xdp_md *context)                                                    \
    {                                                                                              \
        __u64 first = operations;                                                                  \
        int verdict = XDP_PASS;                                                                    \
                                                                                                   \
        operations = first + OPERATIONS;                                                           \
        LOOP(OPERATIONS)                                                                           \
        {                                                                                          \
            key_type key = set_key(pick(first + i, entries));                                      \
            __u64 *value = bpf_map_lookup_elem(&map, &key);                                        \
                                                                                                   \
            if (value)                                                                             \
                add;                                                                               \
            else                                                                                   \
                verdict = XDP_ABORTED;                                                             \
        }                                                                                          \
        return verdict;                                                                            \
    }                                                                                              \
    SEC("xdp") int fill_##name(struct xdp_md *context)                                             \
    {                                                                                              \
        __u32 first = filled_##name;                                                                      \
        __u64 zero = 0;                                                                            \
                                                                                                   \
        filled_##name = first + OPERATIONS;                                                        \
        LOOP(OPERATIONS)                                                                           \
        {                                                                                          \
            __u32 number = first + i;                                                              \
            key_type key = set_key(number);                                                        \
                                                                                                   \
            if (number < entries)                                                                  \
                bpf_map_update_elem(&map, &key, &zero, BPF_ANY);                                   \
        }                                                                                          \
        return XDP_PASS;                                                                           \
    }

#define SAME(n) (n)
#define WIDE(n) { (n), ~(__u64)(n) }
#define ATOMICALLY __sync_fetch_and_add(value, 1)
#define PLAINLY *value += 1

/* 64 lookups and atomic adds; all keys must be there. */
COUNTER(hash_counter_1k, hash_1k, __u32, SAME, SMALL, ATOMICALLY)
COUNTER(hash_counter_1m, hash_1m, __u32, SAME, LARGE, ATOMICALLY)
COUNTER(hash16_counter_1k, hash16_1k, struct key16, WIDE, SMALL, ATOMICALLY)
/* 64 lookups and plain adds. */
COUNTER(percpu_hash_counter_1k, percpu_hash_1k, __u32, SAME, SMALL, PLAINLY)
COUNTER(array_counter, array, __u32, SAME, 1024, ATOMICALLY)
COUNTER(percpu_array_counter, percpu_array, __u32, SAME, 1024, PLAINLY)

/* 64 lookups. */
SEC("xdp") int array_lookups(struct xdp_md *context)
{
    __u64 sum = 0;

    LOOP(OPERATIONS)
    {
        __u32 key = i * 7;
        __u64 *value = bpf_map_lookup_elem(&array, &key);

        if (value)
            sum += *value;
    }
    return sum & 1 ? XDP_DROP : XDP_PASS;
}

#define UPDATE(name, map, entries)                                                                 \
    SEC("xdp") int name(struct xdp_md *context)                                                    \
    {                                                                                              \
        __u64 first = operations;                                                                  \
                                                                                                   \
        operations = first + OPERATIONS;                                                           \
        LOOP(OPERATIONS)                                                                           \
        {                                                                                          \
            __u32 key = pick(first + i, entries);                                                  \
            __u64 value = first;                                                                   \
                                                                                                   \
            bpf_map_update_elem(&map, &key, &value, BPF_ANY);                                      \
        }                                                                                          \
        return XDP_PASS;                                                                           \
    }

/* 64 values of present keys replaced. */
UPDATE(hash_update_1k, hash_1k, SMALL)
UPDATE(hash_update_1m, hash_1m, LARGE)

char LICENSE[] SEC("license") = "GPL";
