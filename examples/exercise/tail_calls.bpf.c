/* Tail calls: to programs that the object puts into the array, to an empty place, outside of the
 * array, from a function, and until the limit. */
#include "exercise.h"

int first(struct __sk_buff *skb);
int again(struct __sk_buff *skb);

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __array(values, int(struct __sk_buff *));
} programs SEC(".maps") = {
    .values = { [1] = (void *)&first, [2] = (void *)&again },
};

SEC("tc")
int first(struct __sk_buff *skb)
{
    add(0, 1);
    return 21;
}

SEC("tc")
int again(struct __sk_buff *skb)
{
    add(1, 1);
    bpf_tail_call(skb, &programs, 2);
    return 22;
}

SEC("tc")
int call_first(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &programs, 1);
    return 1;
}

SEC("tc")
int call_again(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &programs, 2);
    return 2;
}

SEC("tc")
int call_nothing(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &programs, 0);
    bpf_tail_call(skb, &programs, 4);
    bpf_tail_call(skb, &programs, 0xffffffff);
    return 3;
}

SEC("tc")
int call_by_length(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &programs, skb->len & 3);
    return 4;
}

static __noinline int inside(struct __sk_buff *skb)
{
    bpf_tail_call(skb, &programs, 1);
    return 5;
}

/* The program that is called returns to here, in place of the function. */
SEC("tc")
int call_from_function(struct __sk_buff *skb)
{
    int result = inside(skb);

    put(2, result);
    return result + 1;
}
