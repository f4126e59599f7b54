/* build: v4
 * What only the fourth version of the instruction set has: signed division, loads and moves that
 * extend the sign, byte swaps of registers. */
#include "exercise.h"

volatile __s64 a = -1000000007, b = 13, minus_one = -1, least = -0x7fffffffffffffff - 1;
volatile __s32 c = -100003, d = 7;

SEC("tc")
int division(struct __sk_buff *skb)
{
    put(0, a / b);
    put(1, a % b);
    put(2, c / d);
    put(3, c % d);
    put(4, a / minus_one);
    put(5, c % (__s32)minus_one);
    return TC_ACT_OK;
}
