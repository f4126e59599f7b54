/* Drops UDP packets to ports in a map, answers pings itself, and counts by what it did. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* <linux/icmp.h> needs more headers than there are for this target. */
#define ICMP_ECHOREPLY 0
#define ICMP_ECHO 8

struct icmphdr {
    __u8 type;
    __u8 code;
    __sum16 checksum;
    __be32 rest;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, __u16);
    __type(value, __u64); /* packets that were dropped */
} blocked_ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, XDP_REDIRECT + 1);
    __type(key, __u32);
    __type(value, __u64);
} verdicts SEC(".maps");

static __always_inline void swap(__u8 *a, __u8 *b, __u32 size)
{
    for (__u32 i = 0; i < size; i++) {
        __u8 byte = a[i];

        a[i] = b[i];
        b[i] = byte;
    }
}

static __always_inline int answer_ping(struct ethhdr *ethernet, struct iphdr *ip,
                                       struct icmphdr *icmp)
{
    __u32 sum;

    swap(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
    swap((__u8 *)&ip->saddr, (__u8 *)&ip->daddr, sizeof(ip->saddr));
    icmp->type = ICMP_ECHOREPLY;
    /* The type is less by ICMP_ECHO << 8, so the sum is more by that (RFC 1624). */
    sum = icmp->checksum + bpf_htons(ICMP_ECHO << 8);
    icmp->checksum = sum + (sum >> 16);
    return XDP_TX;
}

static __always_inline int filter_udp(struct udphdr *udp)
{
    __u16 port = bpf_ntohs(udp->dest);
    __u64 *dropped = bpf_map_lookup_elem(&blocked_ports, &port);

    if (!dropped)
        return XDP_PASS;
    __sync_fetch_and_add(dropped, 1);
    return XDP_DROP;
}

static __always_inline int verdict_of(void *data, void *end)
{
    struct ethhdr *ethernet = data;
    struct iphdr *ip = (void *)(ethernet + 1);
    void *transport = ip + 1;

    if (transport > end)
        return XDP_PASS;
    if (ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
        return XDP_PASS;
    if (ip->protocol == IPPROTO_UDP) {
        if (transport + sizeof(struct udphdr) > end)
            return XDP_ABORTED;
        return filter_udp(transport);
    }
    if (ip->protocol == IPPROTO_ICMP) {
        struct icmphdr *icmp = transport;

        if ((void *)(icmp + 1) > end)
            return XDP_ABORTED;
        if (icmp->type == ICMP_ECHO)
            return answer_ping(ethernet, ip, icmp);
    }
    return XDP_PASS;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
    __u32 verdict = verdict_of((void *)(long)ctx->data, (void *)(long)ctx->data_end);
    __u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);

    if (count)
        ++*count; /* this CPU's own */
    return verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
