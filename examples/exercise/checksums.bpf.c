/* Checksums: differences, and those of IPv4 and of what it carries, as a NAT needs them. */
#include "exercise.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>

#define IP_AT ETH_HLEN
#define L4_AT (ETH_HLEN + sizeof(struct iphdr))
#define PSEUDO_HEADER 0x10

SEC("tc")
int differences(struct __sk_buff *skb)
{
    __be32 from[4] = { 0x01020304, 0x05060708, 0x090a0b0c, 0x0d0e0f10 };
    __be32 to[4] = { 0x11121314, 0x05060708, 0xffffffff, 0 };

    put(0, bpf_csum_diff(NULL, 0, to, sizeof(to), 0));
    put(1, bpf_csum_diff(from, sizeof(from), NULL, 0, 0));
    put(2, bpf_csum_diff(from, sizeof(from), to, sizeof(to), 0));
    put(3, bpf_csum_diff(from, 8, to, 16, 0xabcd));
    return TC_ACT_OK;
}

/* Another destination for TCP and UDP over IPv4: address and port. */
SEC("tc")
int nat(struct __sk_buff *skb)
{
    __be32 address = bpf_htonl(0x0a000001), old_address;
    __be16 port = bpf_htons(8080), old_port;
    struct iphdr ip;
    __u32 check, flags = PSEUDO_HEADER;

    if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, IP_AT, &ip, sizeof(ip)) ||
        ip.ihl != 5)
        return TC_ACT_OK;
    if (ip.protocol == IPPROTO_TCP)
        check = L4_AT + offsetof(struct tcphdr, check);
    else if (ip.protocol == IPPROTO_UDP)
        check = L4_AT + offsetof(struct udphdr, check), flags |= BPF_F_MARK_MANGLED_0;
    else
        return TC_ACT_OK;
    old_address = ip.daddr;
    if (bpf_skb_load_bytes(skb, L4_AT + 2, &old_port, sizeof(old_port)))
        return TC_ACT_SHOT;
    add(10, bpf_l4_csum_replace(skb, check, old_address, address, flags | sizeof(address)));
    add(11, bpf_l4_csum_replace(skb, check, old_port, port, sizeof(port)));
    add(12, bpf_l3_csum_replace(skb, IP_AT + offsetof(struct iphdr, check), old_address, address,
                                sizeof(address)));
    add(13, bpf_skb_store_bytes(skb, IP_AT + offsetof(struct iphdr, daddr), &address,
                                sizeof(address), 0));
    add(14, bpf_skb_store_bytes(skb, L4_AT + 2, &port, sizeof(port), 0));
    return TC_ACT_OK;
}
