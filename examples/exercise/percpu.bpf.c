/* Per-CPU values: this CPU's, others', and where a program runs. */
#include "exercise.h"

struct counter {
    __u64 packets;
    __u64 bytes;
    __u32 last;
    __u32 unused; /* no padding, which a new entry would get from the stack */
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, struct counter);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, struct counter);
} by_length SEC(".maps");

SEC("tc")
int count(struct __sk_buff *skb)
{
    __u32 key = 0, length = skb->len & 31;
    struct counter *counter = bpf_map_lookup_elem(&counters, &key);

    if (counter) {
        counter->packets++;
        counter->bytes += skb->len;
        counter->last = skb->len;
    }
    counter = bpf_map_lookup_elem(&by_length, &length);
    if (counter) {
        counter->packets++;
        counter->bytes += skb->len;
    } else {
        struct counter fresh = { .packets = 1, .bytes = skb->len };

        bpf_map_update_elem(&by_length, &length, &fresh, BPF_NOEXIST);
    }
    return TC_ACT_OK;
}

SEC("tc")
int other_cpus(struct __sk_buff *skb)
{
    __u32 key = 0, cpu = bpf_get_smp_processor_id();
    struct counter *mine = bpf_map_lookup_percpu_elem(&counters, &key, cpu);
    struct counter *none = bpf_map_lookup_percpu_elem(&counters, &key, 100000);
    struct counter *absent;

    key = 99;
    absent = bpf_map_lookup_percpu_elem(&by_length, &key, cpu);
    put(0, mine ? mine->packets : -1);
    put(1, none != NULL);
    put(2, absent != NULL);
    put(3, bpf_get_numa_node_id());
    return TC_ACT_OK;
}
