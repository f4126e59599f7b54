/* Atomic instructions in both widths, and a spin lock. */
#include "exercise.h"

__u64 wide;
__u32 narrow;

struct locked {
    __u64 before;
    struct bpf_spin_lock lock;
    __u32 count;
    __u64 sum;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct locked);
} locked SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, struct locked);
} locked_hash SEC(".maps");

SEC("tc")
int of_8_bytes(struct __sk_buff *skb)
{
    wide = 0xfffffffffffffffe;
    put(0, __sync_fetch_and_add(&wide, 3));
    put(1, wide);
    put(2, __sync_fetch_and_sub(&wide, 2));
    put(3, __sync_fetch_and_or(&wide, 0xff00));
    put(4, __sync_fetch_and_and(&wide, 0x0ff0));
    put(5, __sync_fetch_and_xor(&wide, 0xffff));
    put(6, __sync_lock_test_and_set(&wide, 42));
    put(7, __sync_val_compare_and_swap(&wide, 42, 43));
    put(8, __sync_val_compare_and_swap(&wide, 42, 44));
    put(9, wide);
    __sync_fetch_and_add(&wide, skb->len);
    return TC_ACT_OK;
}

SEC("tc")
int of_4_bytes(struct __sk_buff *skb)
{
    narrow = 0xfffffffe;
    put(10, __sync_fetch_and_add(&narrow, 3));
    put(11, narrow);
    put(12, __sync_fetch_and_sub(&narrow, 2));
    put(13, __sync_fetch_and_or(&narrow, 0xff00));
    put(14, __sync_fetch_and_and(&narrow, 0x0ff0));
    put(15, __sync_fetch_and_xor(&narrow, 0xffff));
    put(16, __sync_lock_test_and_set(&narrow, 42));
    put(17, __sync_val_compare_and_swap(&narrow, 42, 43));
    put(18, __sync_val_compare_and_swap(&narrow, 42, 44));
    put(19, narrow);
    __sync_fetch_and_add(&narrow, skb->len);
    return TC_ACT_OK;
}

SEC("tc")
int under_lock(struct __sk_buff *skb)
{
    __u32 key = 0;
    __u32 length = skb->len;
    struct locked fresh = { .before = 1 }, *value = bpf_map_lookup_elem(&locked, &key);

    if (!value)
        return TC_ACT_SHOT;
    bpf_spin_lock(&value->lock);
    value->count++;
    value->sum += length;
    bpf_spin_unlock(&value->lock);
    /* The lock in what is written does not count. */
    put(20, bpf_map_update_elem(&locked_hash, &key, &fresh, BPF_ANY));
    fresh.sum = length;
    put(21, bpf_map_update_elem(&locked_hash, &key, &fresh, BPF_F_LOCK));
    put(22, bpf_map_update_elem(&locked_hash, &key, &fresh, BPF_F_LOCK | BPF_NOEXIST));
    return TC_ACT_OK;
}
