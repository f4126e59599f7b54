/* Events to user space through a PERF_EVENT_ARRAY: bytes of the program's own, and of the packet. */
#include "exercise.h"

struct event {
    __u32 number;
    __u32 length;
    char text[8];
};

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __type(key, __u32);
    __type(value, __u32);
} events SEC(".maps");

__u32 number;

SEC("tc")
int report(struct __sk_buff *skb)
{
    struct event event = { .number = number++, .length = skb->len, .text = "packet" };

    bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
    return TC_ACT_OK;
}

/* With the first 16 bytes of the packet behind the event. */
SEC("tc")
int report_head(struct __sk_buff *skb)
{
    struct event event = { .number = number++, .length = skb->len, .text = "head" };

    bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU | (16ULL << 32), &event, sizeof(event));
    return TC_ACT_OK;
}
