/* Functions of all kinds, in a way that libbpf takes, too. */
#include "prelude.h"

volatile int state;

static __noinline long callback(__u32 index, int *sum)
{
	*sum += index * state;
	return 0;
}

static __noinline int leaf(int x)
{
	return x + state;
}

__noinline int branch(int x)
{
	return leaf(x) * state;
}

__weak __noinline int soft(int x)
{
	return branch(x) - leaf(state);
}

SEC("xdp")
int one(struct xdp_md *ctx)
{
	int sum = 0;

	bpf_loop(4, callback, &sum, 0);
	return soft(sum);
}

SEC("xdp")
int two(struct xdp_md *ctx)
{
	return leaf(branch(state));
}

SEC("tc")
int three(void *ctx)
{
	int sum = state;

	bpf_loop(2, callback, &sum, 0);
	return sum;
}

char license_text[] SEC("license") = "GPL";
