/* A plug-in of an application: says which requests are served, and counts them by client. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define NSEC_PER_SEC 1000000000ULL

/* What the application asks about, and where it finds how long the client should wait. */
struct request {
    __u64 time; /* nanoseconds */
    __u8 client[4];
    __u32 bytes;
    __u64 retry_after; /* nanoseconds; set where the request is refused */
};

enum answer { SERVE, REFUSE };

/* Requests a second of each client, and how many may come at once; set before loading. */
volatile const __u64 rate = 10;
volatile const __u64 burst = 5;

struct client {
    struct bpf_spin_lock lock;
    __u32 unused; /* no padding, which a new entry would get from the stack */
    /* A request's worth is NSEC_PER_SEC, so that no division is needed. */
    __u64 tokens;
    __u64 filled_at;
    __u64 served;
    __u64 refused;
    __u64 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, __u8[4]);
    __type(value, struct client);
} clients SEC(".maps");

/* Time that was not asked for can only fill what is full, and could overflow. */
static __always_inline void fill(struct client *client, __u64 time)
{
    __u64 full = burst * NSEC_PER_SEC;
    __u64 elapsed = time > client->filled_at ? time - client->filled_at : 0;

    if (rate && elapsed > full / rate)
        elapsed = full / rate;
    client->tokens += elapsed * rate;
    if (client->tokens > full)
        client->tokens = full;
    client->filled_at = time;
}

SEC("syscall")
int admit(struct request *request)
{
    enum answer answer = REFUSE;
    struct client *client;
    __u64 missing = 0;

    client = bpf_map_lookup_elem(&clients, request->client);
    if (!client) {
        struct client fresh = { .tokens = burst * NSEC_PER_SEC, .filled_at = request->time };

        /* Another thread may have been first: then its entry is the one. */
        bpf_map_update_elem(&clients, request->client, &fresh, BPF_NOEXIST);
        client = bpf_map_lookup_elem(&clients, request->client);
        if (!client)
            return REFUSE; /* no room for one more */
    }
    bpf_spin_lock(&client->lock);
    fill(client, request->time);
    if (client->tokens >= NSEC_PER_SEC) {
        client->tokens -= NSEC_PER_SEC;
        client->served++;
        client->bytes += request->bytes;
        answer = SERVE;
    } else {
        missing = NSEC_PER_SEC - client->tokens;
        client->refused++;
    }
    bpf_spin_unlock(&client->lock);
    request->retry_after = rate ? missing / rate : 0;
    return answer;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
