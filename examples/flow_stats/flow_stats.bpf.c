/* Counts packets and bytes of every flow, and of every protocol. */
#include "packet.h"
#include "clock.h"

/* A flow: both ends, the protocol, the VLAN. */
struct flow_key {
    struct in6_addr source;
    struct in6_addr destination;
    __be16 source_port;
    __be16 destination_port;
    __u16 vlan;
    __u8 protocol;
    __u8 version;
};

struct flow {
    __u64 packets;
    __u64 bytes;
    __u64 first_seen;
    __u64 last_seen;
    char service[8];
};

enum protocol { OTHER, TCP, UDP, ICMP, NOT_AN_IP, MALFORMED, PROTOCOLS };

struct total {
    __u64 packets;
    __u64 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 10240);
    __type(key, struct flow_key);
    __type(value, struct flow);
} flows SEC(".maps");

/* The index is an enum, so that a dump has its names. (The kernel wants an int for that: libbpf
 * loads this map without types there.) */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, PROTOCOLS);
    __type(key, enum protocol);
    __type(value, struct total);
} totals SEC(".maps");

/* Packets to and from this port are dropped, if it is not 0. */
volatile const __u16 drop_port = 0;

/* Flows that found no room. */
__u64 flows_lost;

static __always_inline void count_total(enum protocol protocol, __u32 bytes)
{
    __u32 key = protocol;
    struct total *total = bpf_map_lookup_elem(&totals, &key);

    if (!total)
        return;
    total->packets++;
    total->bytes += bytes;
}

static __always_inline void name_service(char name[8], __u16 source, __u16 destination)
{
    __u16 port = source < destination ? source : destination;

    switch (port) {
    case 53:
        __builtin_memcpy(name, "dns", 4);
        break;
    case 80:
        __builtin_memcpy(name, "http", 5);
        break;
    case 443:
        __builtin_memcpy(name, "https", 6);
        break;
    case 6379:
        __builtin_memcpy(name, "redis", 6);
        break;
    }
}

static __always_inline void count_flow(const struct packet *packet)
{
    struct flow_key key = {
        .source = packet->source,
        .destination = packet->destination,
        .source_port = packet->source_port,
        .destination_port = packet->destination_port,
        .vlan = packet->vlan,
        .protocol = packet->protocol,
        .version = packet->version,
    };
    __u64 time = now();
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);

    if (!flow) {
        struct flow fresh = { .first_seen = time };

        name_service(fresh.service, bpf_ntohs(key.source_port), bpf_ntohs(key.destination_port));
        /* Another CPU may have been first: then its entry is the one. */
        bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST);
        flow = bpf_map_lookup_elem(&flows, &key);
        if (!flow) {
            __sync_fetch_and_add(&flows_lost, 1);
            return;
        }
    }
    __sync_fetch_and_add(&flow->packets, 1);
    __sync_fetch_and_add(&flow->bytes, packet->length);
    flow->last_seen = time;
}

static __always_inline enum protocol protocol_of(const struct packet *packet)
{
    switch (packet->protocol) {
    case IPPROTO_TCP:
        return TCP;
    case IPPROTO_UDP:
        return UDP;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return ICMP;
    }
    return OTHER;
}

SEC("xdp")
int flow_stats(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct packet packet = {};
    __be16 port = bpf_htons(drop_port);

    switch (parse(data, end, &packet)) {
    case TRUNCATED:
        count_total(MALFORMED, end - data);
        return XDP_DROP;
    case NOT_IP:
        count_total(NOT_AN_IP, end - data);
        return XDP_PASS;
    case PARSED:
        break;
    }
    count_total(protocol_of(&packet), packet.length);
    count_flow(&packet);
    if (port && (packet.source_port == port || packet.destination_port == port))
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
