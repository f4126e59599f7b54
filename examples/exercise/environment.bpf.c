/* Time, chance, and memory that is not the program's: results that differ from run to run are
 * looked at, not kept. */
#include "exercise.h"

SEC("tc")
int clocks(struct __sk_buff *skb)
{
    __u64 before = bpf_ktime_get_ns(), after = bpf_ktime_get_ns();

    put(0, after >= before && before > 0);
    put(1, bpf_ktime_get_boot_ns() >= before);
    put(2, bpf_ktime_get_coarse_ns() > 0);
    put(3, bpf_jiffies64() > 0);
    return TC_ACT_OK;
}

SEC("tc")
int chance(struct __sk_buff *skb)
{
    __u32 differ = 0;

    for (int i = 0; i < 8; i++)
        differ |= bpf_get_prandom_u32() ^ bpf_get_prandom_u32();
    put(10, differ != 0);
    return TC_ACT_OK;
}

SEC("raw_tp/sys_enter")
int reads(struct bpf_raw_tracepoint_args *ctx)
{
    __u64 from = 0x1122334455667788, to = 1;

    put(20, bpf_probe_read_kernel(&to, sizeof(to), &from));
    put(21, to);
    put(22, bpf_probe_read_kernel(&to, sizeof(to), NULL) < 0);
    put(23, to);
    put(24, bpf_probe_read_user(&to, sizeof(to), NULL) < 0);
    return 0;
}
