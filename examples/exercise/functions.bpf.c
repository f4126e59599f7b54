/* Calls: static and global functions, deep ones, pointers to the caller's stack. */
#include "exercise.h"

static __noinline __u64 square(__u64 number)
{
    return number * number;
}

static __noinline __u64 sum_of_squares(__u64 a, __u64 b)
{
    return square(a) + square(b);
}

/* A global one: the kernel verifies it by itself. */
__noinline int mix(int a, int b, int c, int d, int e)
{
    return a * 10000 + b * 1000 + c * 100 + d * 10 + e;
}

static __noinline void fill(__u64 *numbers, __u32 count)
{
    for (__u32 i = 0; i < 8; i++)
        numbers[i] = i < count ? square(i) : 0;
}

#define LEVEL(name, next)                                                                          \
    static __noinline __u64 name(__u64 number)                                                     \
    {                                                                                              \
        volatile __u64 kept[4] = { number, number + 1, number + 2, number + 3 };                   \
        __u64 below = next(number + 1);                                                            \
                                                                                                   \
        return below * 3 + kept[number & 3];                                                       \
    }
LEVEL(level7, square)
LEVEL(level6, level7)
LEVEL(level5, level6)
LEVEL(level4, level5)
LEVEL(level3, level4)
LEVEL(level2, level3)

SEC("tc")
int calls(struct __sk_buff *skb)
{
    __u64 numbers[8];
    __u64 sum = 0;

    put(0, sum_of_squares(3, skb->len));
    put(1, mix(1, 2, 3, 4, skb->len));
    fill(numbers, skb->len & 7);
    for (int i = 0; i < 8; i++)
        sum += numbers[i];
    put(2, sum);
    return TC_ACT_OK;
}

SEC("tc")
int deep(struct __sk_buff *skb)
{
    put(3, level2(skb->len));
    return TC_ACT_OK;
}
