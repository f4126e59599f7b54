/* The time, or one that is the same on every run. */
#ifndef CLOCK_H
#define CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* If not 0, each packet comes so many nanoseconds after the one before. */
volatile const __u64 packet_ns = 0;

/* The time of the last packet then. */
__u64 clock_ns;

static __always_inline __u64 now(void)
{
    if (!packet_ns)
        return bpf_ktime_get_ns();
    return __sync_fetch_and_add(&clock_ns, packet_ns) + packet_ns;
}

#endif
