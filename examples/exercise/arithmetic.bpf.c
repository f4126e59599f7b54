/* build: v1 v2 v3 v4
 * Arithmetic in all widths, signed and unsigned, built for every version of the instruction set;
 * the results must be the same in all of them. */
#include "exercise.h"

volatile __s64 a = -1234567890123, b = 987;
volatile __s32 c = -77777, d = 13;
volatile __u64 e = 0x8000000000000001;
volatile __s8 byte = -5;
volatile __s16 half = -500;

SEC("tc")
int arithmetic(struct __sk_buff *skb)
{
    put(0, a + b);
    put(1, a * b);
    put(2, e / b);
    put(3, e % b);
    put(4, (__u32)c / (__u32)d);
    put(5, (__u32)c % (__u32)d);
    put(6, a >> 7);
    put(7, e >> 7);
    put(8, e << 3);
    put(9, c >> 3);
    put(10, (__u32)c >> 3);
    put(11, byte);
    put(12, half);
    put(13, c);
    put(14, __builtin_bswap16(half));
    put(15, __builtin_bswap32(c));
    put(16, __builtin_bswap64(a));
    put(17, -a);
    put(18, ~c);
    put(19, (a ^ e) | (b & 0xff));
    return TC_ACT_OK;
}

SEC("tc")
int comparisons(struct __sk_buff *skb)
{
    __u64 set = 0;

    set |= (a < b) << 0;
    set |= ((__u64)a < (__u64)b) << 1;
    set |= (c < d) << 2;
    set |= ((__u32)c < (__u32)d) << 3;
    set |= (a == b) << 4;
    set |= (a != b) << 5;
    set |= (c >= -77777) << 6;
    set |= ((e & 1) != 0) << 7;
    set |= (byte > -6) << 8;
    set |= (half <= -500) << 9;
    put(20, set);
    return TC_ACT_OK;
}
