/* Maps as they were defined before BTF. libbpf has dropped these since its version 1. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct bpf_map_def {
    unsigned int type;
    unsigned int key_size;
    unsigned int value_size;
    unsigned int max_entries;
    unsigned int map_flags;
};

struct bpf_map_def SEC("maps") counts = {
    .type = BPF_MAP_TYPE_ARRAY,
    .key_size = sizeof(__u32),
    .value_size = sizeof(__u64),
    .max_entries = 4,
};

struct bpf_map_def SEC("maps") lengths = {
    .type = BPF_MAP_TYPE_HASH,
    .key_size = sizeof(__u32),
    .value_size = sizeof(__u64),
    .max_entries = 2048,
};

SEC("classifier")
int legacy(struct __sk_buff *skb)
{
    __u32 key = skb->len & 3, length = skb->len;
    __u64 one = 1, *count = bpf_map_lookup_elem(&counts, &key);

    if (count)
        __sync_fetch_and_add(count, 1);
    count = bpf_map_lookup_elem(&lengths, &length);
    if (count)
        __sync_fetch_and_add(count, 1);
    else
        bpf_map_update_elem(&lengths, &length, &one, BPF_ANY);
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
