/* Queues the first bytes of every so many-th packet, for somebody who pops them; and keeps the
 * last events on a stack. */
#include "packet.h"
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#define HEAD 64

/* Every how many-th packet is sampled. */
volatile const __u32 every = 100;

enum event_type { CONNECTED = 1, CLOSED, RESET, REFUSED };

struct sample {
    __u64 number;
    __u32 length;
    __u32 captured;
    __u8 head[HEAD];
};

struct event {
    __u64 number;
    enum event_type type;
    __be16 source_port;
    __be16 destination_port;
    char name[8];
};

struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(max_entries, 32);
    __type(value, struct sample);
} samples SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_STACK);
    __uint(max_entries, 16);
    __type(value, struct event);
} events SEC(".maps");

/* Packets seen, and samples for which the queue had no room. */
__u64 seen;
__u64 samples_lost;

static __always_inline void take_sample(struct __sk_buff *skb, __u64 number)
{
    struct sample sample = { .number = number, .length = skb->len };
    __u32 length = skb->len;

    if (length > HEAD)
        length = HEAD;
    if (length == 0 || bpf_skb_load_bytes(skb, 0, sample.head, length))
        return;
    sample.captured = length;
    if (bpf_map_push_elem(&samples, &sample, BPF_ANY))
        __sync_fetch_and_add(&samples_lost, 1);
}

static __always_inline void note(__u64 number, const struct packet *packet, enum event_type type)
{
    struct event event = {
        .number = number,
        .type = type,
        .source_port = packet->source_port,
        .destination_port = packet->destination_port,
    };

    switch (type) {
    case CONNECTED:
        __builtin_memcpy(event.name, "connect", 8);
        break;
    case CLOSED:
        __builtin_memcpy(event.name, "close", 6);
        break;
    case RESET:
        __builtin_memcpy(event.name, "reset", 6);
        break;
    case REFUSED:
        __builtin_memcpy(event.name, "refuse", 7);
        break;
    }
    /* The oldest goes if there is no room. */
    bpf_map_push_elem(&events, &event, BPF_EXIST);
}

/* Where TCP's header is: behind an IP header without options. */
static __always_inline void look_at_tcp(struct __sk_buff *skb, const struct packet *packet,
                                        __u64 number)
{
    __u32 at = ETH_HLEN + (packet->version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
    struct tcphdr tcp;

    if (bpf_skb_load_bytes(skb, at, &tcp, sizeof(tcp)))
        return;
    if (tcp.rst)
        note(number, packet, tcp.ack && !tcp.seq ? REFUSED : RESET);
    else if (tcp.syn && tcp.ack)
        note(number, packet, CONNECTED);
    else if (tcp.fin)
        note(number, packet, CLOSED);
}

SEC("tc")
int sampler(struct __sk_buff *skb)
{
    __u64 number = __sync_fetch_and_add(&seen, 1);
    struct packet packet = {};

    if (every && number % every == 0)
        take_sample(skb, number);
    if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &packet) == PARSED &&
        packet.protocol == IPPROTO_TCP)
        look_at_tcp(skb, &packet, number);
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
