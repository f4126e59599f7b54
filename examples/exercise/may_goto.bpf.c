/* Loops that the kernel lets run for some time only (`may_goto`): here they end before. */
#include "exercise.h"

#define can_go() ({ __label__ out, on; bool go = true; \
        asm volatile goto("may_goto %l[out]" : : : : out); \
        goto on; \
        out: go = false; \
        on: go; })

SEC("tc")
int counted(struct __sk_buff *skb)
{
    __u64 sum = 0;

    for (__u64 i = 0; i < skb->len && can_go(); i++)
        sum = sum * 31 + i;
    put(0, sum);
    return TC_ACT_OK;
}

static __noinline __u64 triangle(__u64 end)
{
    __u64 sum = 0;

    for (__u64 i = 0; i < end && can_go(); i++)
        sum += i;
    return sum;
}

SEC("tc")
int nested(struct __sk_buff *skb)
{
    __u64 sum = 0;

    for (__u64 i = 0; i < 40 && can_go(); i++)
        for (__u64 j = 0; j < (skb->len & 31) && can_go(); j++)
            sum += triangle(j) ^ i;
    put(1, sum);
    return TC_ACT_OK;
}
