/* Lets through so many packets a second of each source address: a token bucket each. */
#include "packet.h"
#include "clock.h"

#define NSEC_PER_SEC 1000000000ULL

/* Packets a second, and how many may come at once; to be set before loading. */
volatile const __u64 rate = 1000;
volatile const __u64 burst = 64;

struct bucket {
    struct bpf_spin_lock lock;
    __u32 unused; /* no padding, which a new entry would get from the stack */
    /* A packet's worth is NSEC_PER_SEC, so that no division is needed. */
    __u64 tokens;
    __u64 filled_at;
    __u64 passed;
    __u64 dropped;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct in6_addr);
    __type(value, struct bucket);
} buckets SEC(".maps");

static __always_inline bool take(struct bucket *bucket, __u64 time)
{
    __u64 full = burst * NSEC_PER_SEC;
    __u64 elapsed, most;
    bool pass = false;

    bpf_spin_lock(&bucket->lock);
    elapsed = time > bucket->filled_at ? time - bucket->filled_at : 0;
    most = rate ? full / rate : 0;
    /* Longer would only fill what is full, and could overflow. */
    if (elapsed > most)
        elapsed = most;
    bucket->tokens += elapsed * rate;
    if (bucket->tokens > full)
        bucket->tokens = full;
    bucket->filled_at = time;
    if (bucket->tokens >= NSEC_PER_SEC) {
        bucket->tokens -= NSEC_PER_SEC;
        bucket->passed++;
        pass = true;
    } else {
        bucket->dropped++;
    }
    bpf_spin_unlock(&bucket->lock);
    return pass;
}

SEC("xdp")
int rate_limit(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    struct packet packet = {};
    struct bucket *bucket;
    __u64 time;

    switch (parse(data, end, &packet)) {
    case TRUNCATED:
        return XDP_ABORTED;
    case NOT_IP:
        return XDP_PASS;
    case PARSED:
        break;
    }
    time = now();
    bucket = bpf_map_lookup_elem(&buckets, &packet.source);
    if (!bucket) {
        struct bucket fresh = { .tokens = burst * NSEC_PER_SEC, .filled_at = time };

        bpf_map_update_elem(&buckets, &packet.source, &fresh, BPF_NOEXIST);
        bucket = bpf_map_lookup_elem(&buckets, &packet.source);
        /* No room for another source: do not stop it. */
        if (!bucket)
            return XDP_PASS;
    }
    return take(bucket, time) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
