/* Reads the headers of a packet: Ethernet with up to two VLAN tags, IPv4 and IPv6 with their
 * options and extension headers, and the ports of TCP and UDP. */
#ifndef PACKET_H
#define PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#define VLAN_TAGS 2
#define EXTENSION_HEADERS 4
#define FRAGMENT_OFFSET 0x1fff

struct vlan_tag {
    __be16 control;
    __be16 protocol;
};

struct ports {
    __be16 source;
    __be16 destination;
};

/* What is known of a packet. IPv4 addresses are as IPv6 has them: ::ffff:192.0.2.1 */
struct packet {
    struct in6_addr source;
    struct in6_addr destination;
    /* As in the packet. */
    __be16 source_port;
    __be16 destination_port;
    /* The outermost VLAN's number; 0 if there is none. */
    __u16 vlan;
    /* IPPROTO_TCP and so on. */
    __u8 protocol;
    /* 4 or 6. */
    __u8 version;
    /* Of the IP header and all behind it, as the header has it: a capture may have cut it. */
    __u32 length;
};

enum parsed {
    PARSED,     /* It is an IP packet. */
    NOT_IP,     /* ARP, for example. */
    TRUNCATED,  /* It ends within its headers. */
};

static __always_inline void mapped(struct in6_addr *address, __be32 v4)
{
    address->in6_u.u6_addr32[0] = 0;
    address->in6_u.u6_addr32[1] = 0;
    address->in6_u.u6_addr32[2] = bpf_htonl(0xffff);
    address->in6_u.u6_addr32[3] = v4;
}

static __always_inline enum parsed parse_ports(void *at, void *end, struct packet *packet)
{
    struct ports *ports = at;

    if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
        return PARSED;
    if ((void *)(ports + 1) > end)
        return TRUNCATED;
    packet->source_port = ports->source;
    packet->destination_port = ports->destination;
    return PARSED;
}

static __always_inline enum parsed parse_v4(void *at, void *end, struct packet *packet)
{
    struct iphdr *ip = at;

    if ((void *)(ip + 1) > end || ip->ihl < 5)
        return TRUNCATED;
    packet->version = 4;
    packet->protocol = ip->protocol;
    packet->length = bpf_ntohs(ip->tot_len);
    mapped(&packet->source, ip->saddr);
    mapped(&packet->destination, ip->daddr);
    /* Only the first fragment has ports. */
    if (ip->frag_off & bpf_htons(FRAGMENT_OFFSET))
        return PARSED;
    return parse_ports(at + ip->ihl * 4, end, packet);
}

static __always_inline enum parsed parse_v6(void *at, void *end, struct packet *packet)
{
    struct ipv6hdr *ip = at;
    __u8 next;

    if ((void *)(ip + 1) > end)
        return TRUNCATED;
    packet->version = 6;
    packet->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
    packet->source = ip->saddr;
    packet->destination = ip->daddr;
    next = ip->nexthdr;
    at = ip + 1;
    for (int i = 0; i < EXTENSION_HEADERS; i++) {
        __u8 *header = at;

        if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
            next != IPPROTO_FRAGMENT)
            break;
        if ((void *)(header + 8) > end)
            return TRUNCATED;
        if (next == IPPROTO_FRAGMENT) {
            next = header[0];
            packet->protocol = next;
            if (*(__be16 *)(header + 2) & bpf_htons(0xfff8))
                return PARSED;
            at += 8;
            continue;
        }
        next = header[0];
        at += 8 + header[1] * 8;
    }
    packet->protocol = next;
    return parse_ports(at, end, packet);
}

/* Reads a packet from its Ethernet header on; `packet` must be zero before. */
static __always_inline enum parsed parse(void *data, void *end, struct packet *packet)
{
    struct ethhdr *ethernet = data;
    void *at = ethernet + 1;
    __be16 protocol;

    if (at > end)
        return TRUNCATED;
    protocol = ethernet->h_proto;
    for (int i = 0; i < VLAN_TAGS; i++) {
        struct vlan_tag *tag = at;

        if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
            break;
        at = tag + 1;
        if (at > end)
            return TRUNCATED;
        if (!i)
            packet->vlan = bpf_ntohs(tag->control) & 0xfff;
        protocol = tag->protocol;
    }
    if (protocol == bpf_htons(ETH_P_IP))
        return parse_v4(at, end, packet);
    if (protocol == bpf_htons(ETH_P_IPV6))
        return parse_v6(at, end, packet);
    return NOT_IP;
}

#endif
