/* The legacy loads from packets: at a constant and at a computed place, from each header on, and
 * where there is nothing, which ends the function with 0. */
#include "exercise.h"

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long offset) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long offset) asm("llvm.bpf.load.word");

/* `SKF_NET_OFF` and `SKF_LL_OFF` */
#define NETWORK (-0x100000)
#define LINK (-0x200000)

SEC("tc")
int absolute(struct __sk_buff *skb)
{
    put(0, load_byte(skb, 0));
    put(1, load_half(skb, 12));
    put(2, load_word(skb, 26));
    put(3, load_half(skb, 13));
    put(4, load_byte(skb, NETWORK + 9));
    put(5, load_word(skb, NETWORK + 12));
    put(6, load_half(skb, LINK + 12));
    put(7, load_half(skb, 58));
    return TC_ACT_SHOT;
}

SEC("tc")
int computed(struct __sk_buff *skb)
{
    __u64 header = 14 + (load_byte(skb, 14) & 15) * 4;

    put(10, header);
    put(11, load_half(skb, header));
    put(12, load_half(skb, header + 2));
    put(13, load_word(skb, skb->len - 4));
    put(14, load_byte(skb, NETWORK + header));
    /* One byte too far. */
    put(15, load_word(skb, skb->len - 3));
    put(16, 1);
    return TC_ACT_SHOT;
}

SEC("tc")
int beyond(struct __sk_buff *skb)
{
    put(20, skb->len);
    if (skb->len & 1)
        put(21, load_byte(skb, 0x7fffffff));
    else
        put(21, load_byte(skb, LINK - 1));
    put(22, 1);
    return TC_ACT_SHOT;
}

static __noinline int port(struct __sk_buff *skb)
{
    return load_half(skb, skb->len & 2 ? 36 : 100000) + 1;
}

SEC("tc")
int in_a_function(struct __sk_buff *skb)
{
    put(25, port(skb));
    return TC_ACT_SHOT;
}

SEC("socket")
int filter(struct __sk_buff *skb)
{
    put(30, load_byte(skb, 9));
    put(31, load_word(skb, 12));
    put(32, load_byte(skb, NETWORK));
    put(33, load_half(skb, LINK + 12));
    put(34, load_byte(skb, skb->len - 1));
    return load_byte(skb, 0) == 0x45 ? skb->len : 1;
}
