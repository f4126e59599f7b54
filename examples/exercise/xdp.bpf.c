/* XDP: room before and behind the packet, metadata, redirects. */
#include "exercise.h"
#include <linux/if_ether.h>

/* Puts a VLAN tag behind the Ethernet addresses. */
SEC("xdp")
int push_vlan(struct xdp_md *ctx)
{
    __u8 addresses[12];
    void *data, *end;

    data = (void *)(long)ctx->data;
    end = (void *)(long)ctx->data_end;
    if (data + ETH_HLEN > end)
        return XDP_DROP;
    __builtin_memcpy(addresses, data, sizeof(addresses));
    if (bpf_xdp_adjust_head(ctx, -4))
        return XDP_ABORTED;
    data = (void *)(long)ctx->data;
    end = (void *)(long)ctx->data_end;
    if (data + ETH_HLEN + 4 > end)
        return XDP_ABORTED;
    __builtin_memcpy(data, addresses, sizeof(addresses));
    *(__be16 *)(data + 12) = bpf_htons(ETH_P_8021Q);
    *(__be16 *)(data + 14) = bpf_htons(42);
    return XDP_TX;
}

SEC("xdp")
int head(struct xdp_md *ctx)
{
    put(0, bpf_xdp_adjust_head(ctx, 4));
    put(1, ctx->data_end - ctx->data);
    put(2, bpf_xdp_adjust_head(ctx, 100000));
    put(3, bpf_xdp_adjust_head(ctx, -100000));
    put(4, bpf_xdp_adjust_head(ctx, -20));
    put(5, ctx->data_end - ctx->data);
    return XDP_PASS;
}

SEC("xdp")
int tail(struct xdp_md *ctx)
{
    put(10, bpf_xdp_adjust_tail(ctx, 16));
    put(11, ctx->data_end - ctx->data);
    put(12, bpf_xdp_adjust_tail(ctx, -20));
    put(13, ctx->data_end - ctx->data);
    put(14, bpf_xdp_adjust_tail(ctx, 100000));
    put(15, bpf_xdp_adjust_tail(ctx, -100000));
    return XDP_PASS;
}

SEC("xdp")
int meta(struct xdp_md *ctx)
{
    void *data, *meta;

    put(20, bpf_xdp_adjust_meta(ctx, -8));
    put(21, bpf_xdp_adjust_meta(ctx, -3));
    put(22, bpf_xdp_adjust_meta(ctx, 100));
    data = (void *)(long)ctx->data;
    meta = (void *)(long)ctx->data_meta;
    if (meta + 8 > data)
        return XDP_DROP;
    *(__u64 *)meta = 0x1122334455667788;
    put(23, data - meta);
    return XDP_PASS;
}

SEC("xdp")
int verdicts(struct xdp_md *ctx)
{
    __u32 length = ctx->data_end - ctx->data;

    switch (length % 6) {
    case 0:
        return XDP_ABORTED;
    case 1:
        return XDP_DROP;
    case 2:
        return XDP_PASS;
    case 3:
        return XDP_TX;
    case 4:
        return bpf_redirect(1, 0);
    }
    return 77;
}
