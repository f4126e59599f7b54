/* Globals: with values, without, constant, static, in sections of their own; and strings. */
#include "exercise.h"

enum mode { QUIET, NORMAL, LOUD };

struct settings {
    enum mode mode;
    __u32 limits[4];
    char name[16];
};

volatile const struct settings settings = { .mode = NORMAL, .limits = { 1, 2, 3, 4 }, .name = "here" };
volatile const __s32 offset = -5;

__u64 started = 100;
__u64 packets;
static volatile __u32 hidden = 7;
static volatile __u16 hidden_zero;
__u8 table[256];
__u32 own_section SEC(".data.own") = 11;
const volatile __u32 own_constant SEC(".rodata.own") = 13;

static const __u32 primes[8] = { 2, 3, 5, 7, 11, 13, 17, 19 };

SEC("tc")
int globals(struct __sk_buff *skb)
{
    packets++;
    started += settings.limits[skb->len & 3];
    hidden++;
    hidden_zero += 2;
    table[skb->len & 255]++;
    own_section += own_constant;
    put(0, settings.mode);
    put(1, offset);
    put(2, primes[skb->len & 7]);
    put(3, settings.name[0]);
    return TC_ACT_OK;
}
