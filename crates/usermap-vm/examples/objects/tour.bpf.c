/* Programs that the crate's documentation runs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Longer packets are dropped, and told. */
volatile const __u32 limit = 1500;

struct event {
    __u32 length;
    __u32 limit;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __uint(key_size, 4);
    __uint(value_size, 4);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} packets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 4);
    __uint(key_size, 4);
    __uint(value_size, 4);
} stages SEC(".maps");

/* A helper of the application. */
static long (*price_of)(__u32 article) = (void *)0x10001;

SEC("xdp")
int inspect(struct xdp_md *ctx)
{
    __u32 length = ctx->data_end - ctx->data, first = 0;
    struct event event = { .length = length, .limit = limit };
    __u64 *count = bpf_map_lookup_elem(&packets, &first);

    if (count)
        ++*count;
    if (length <= limit)
        return XDP_PASS;
    bpf_printk("%u bytes are too many", length);
    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
    return XDP_DROP;
}

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
    bpf_tail_call(ctx, &stages, 0);
    return XDP_ABORTED; /* there is no such stage */
}

/* Gets an article and a number of them, and puts their price behind. */
SEC("syscall")
int order(__u32 *ctx)
{
    ctx[2] = ctx[1] * price_of(ctx[0]);
    return 0;
}

/* Never ends. The kernel would not take it. */
SEC("syscall")
int spin(volatile __u64 *ctx)
{
    for (;;)
        ++*ctx;
}

/* Reads where it is told to. Nor this. */
SEC("syscall")
int peek(__u64 *ctx)
{
    return *(__u64 *)*ctx;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
