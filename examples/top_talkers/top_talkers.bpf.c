/* Counts bytes by source address, and keeps a list of the sources that sent most. */
#include "packet.h"
#include "usermap_helpers.h"
#include <linux/pkt_cls.h>

#define TOP 8

struct talker {
    struct in6_addr address;
    __u64 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct in6_addr);
    __type(value, __u64);
} sources SEC(".maps");

/* The first sent most. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, TOP);
    __type(key, __u32);
    __type(value, struct talker);
} top SEC(".maps");

static __always_inline bool same(const struct in6_addr *a, const struct in6_addr *b)
{
    const __be32 *x = a->in6_u.u6_addr32, *y = b->in6_u.u6_addr32;

    return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* Where the source is in the list, or where it would come in: the last place. */
static __always_inline __u32 place_of(const struct in6_addr *source)
{
    __u32 i;

    for (i = 0; i < TOP - 1; i++) {
        struct talker *talker = bpf_map_lookup_elem(&top, &i);

        if (!talker || same(&talker->address, source))
            break;
    }
    return i;
}

static __always_inline void rank(const struct in6_addr *source, __u64 bytes)
{
    __u32 at = place_of(source);
    struct talker *talker = bpf_map_lookup_elem(&top, &at);

    /* The last place is for whoever has more than the one there. */
    if (!talker || bytes < talker->bytes)
        return;
    talker->address = *source;
    talker->bytes = bytes;
    /* Up, past all who sent less. */
    for (int i = 0; i < TOP && at > 0; i++) {
        __u32 before = at - 1;
        struct talker *ahead = bpf_map_lookup_elem(&top, &before);
        struct talker *behind = bpf_map_lookup_elem(&top, &at);
        struct talker moved;

        if (!ahead || !behind || ahead->bytes >= behind->bytes)
            break;
        moved = *ahead;
        *ahead = *behind;
        *behind = moved;
        at = before;
    }
}

SEC("tc")
int top_talkers(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct packet packet = {};
    __u64 bytes = 0;

    if (parse(data, end, &packet) != PARSED)
        return TC_ACT_OK;
    if (bpf_map_inc_and_return(&sources, &packet.source, packet.length, &bytes, BPF_ANY))
        return TC_ACT_OK;
    rank(&packet.source, bytes);
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
