/* Packets of tc: loads and stores by offset, direct access, other sizes, the fields. */
#include "exercise.h"
#include <linux/if_ether.h>

SEC("tc")
int load_and_store(struct __sk_buff *skb)
{
    __u8 bytes[8] = {}, mac[6] = { 2, 0, 0, 0, 0, 1 };

    put(0, bpf_skb_load_bytes(skb, 0, bytes, sizeof(bytes)));
    put(1, *(__u64 *)bytes);
    put(2, bpf_skb_load_bytes(skb, 65530, bytes, sizeof(bytes)));
    put(3, *(__u64 *)bytes);
    put(4, bpf_skb_load_bytes_relative(skb, 12, bytes, 4, BPF_HDR_START_NET));
    put(5, *(__u32 *)bytes);
    put(6, bpf_skb_load_bytes_relative(skb, 0, bytes, 6, BPF_HDR_START_MAC));
    put(7, bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0));
    put(8, bpf_skb_store_bytes(skb, 65530, mac, sizeof(mac), 0));
    put(9, bpf_skb_store_bytes(skb, 6, mac, sizeof(mac), BPF_F_RECOMPUTE_CSUM));
    return TC_ACT_OK;
}

SEC("tc")
int direct(struct __sk_buff *skb)
{
    void *data, *end;
    __u64 sum = 0;

    put(10, bpf_skb_pull_data(skb, 0));
    put(11, bpf_skb_pull_data(skb, 20));
    put(12, bpf_skb_pull_data(skb, 100000));
    data = (void *)(long)skb->data;
    end = (void *)(long)skb->data_end;
    for (__u32 i = 0; i < 32; i++) {
        if (data + i + 1 > end)
            break;
        sum = sum * 31 + *(__u8 *)(data + i);
    }
    put(13, sum);
    if (data + ETH_HLEN <= end)
        *(__u8 *)(data + 5) = 0x42;
    return TC_ACT_OK;
}

SEC("tc")
int resize(struct __sk_buff *skb)
{
    put(20, bpf_skb_change_tail(skb, skb->len + 8, 0));
    put(21, skb->len);
    put(22, bpf_skb_change_tail(skb, 40, 0));
    put(23, skb->len);
    put(24, bpf_skb_change_tail(skb, 1, 0));
    put(25, bpf_skb_change_head(skb, 14, 0));
    put(26, skb->len);
    put(27, bpf_skb_change_head(skb, 1 << 20, 0));
    return TC_ACT_OK;
}

SEC("tc")
int fields(struct __sk_buff *skb)
{
    put(30, skb->len);
    put(31, skb->protocol);
    put(32, skb->mark);
    put(33, skb->priority);
    put(34, skb->pkt_type);
    put(35, skb->vlan_present);
    put(36, skb->cb[0]);
    put(37, skb->tc_classid);
    put(38, skb->wire_len);
    put(39, skb->gso_segs);
    skb->mark = 7;
    skb->cb[0] = 1;
    skb->cb[4] = 5;
    skb->tc_classid = 0x10001;
    put(40, skb->mark + skb->cb[0] + skb->cb[4]);
    return TC_ACT_OK;
}

SEC("tc")
int verdicts(struct __sk_buff *skb)
{
    switch (skb->len % 5) {
    case 0:
        return TC_ACT_OK;
    case 1:
        return TC_ACT_SHOT;
    case 2:
        return TC_ACT_PIPE;
    case 3:
        return bpf_redirect(1, 0);
    }
    return TC_ACT_UNSPEC;
}

SEC("socket")
int keep_half(struct __sk_buff *skb)
{
    return skb->len / 2;
}

SEC("cgroup_skb/egress")
int short_ones(struct __sk_buff *skb)
{
    return skb->len < 100;
}
