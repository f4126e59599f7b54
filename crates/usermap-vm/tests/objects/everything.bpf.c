/* One of all that an object can have and that can be had. */
#include "prelude.h"

enum color { RED, GREEN = 5, BLUE = -1 };
enum wide { SMALL = 1, HUGE = 0x123456789abcdefULL };
union address {
	__u32 v4;
	__u8 v6[16];
};

struct flow_key {
	union address source;
	__u16 port;
	char name[8];
	enum color color;
	unsigned low : 3;
	int high : 5;
};

struct flow {
	struct bpf_spin_lock lock;
	__u64 packets;
	_Bool open;
	enum wide wide;
	double unused;
	struct flow *next;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow_key);
	__type(value, struct flow);
	__uint(map_flags, 1);
	__uint(pinning, 1);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_STACK);
	__uint(max_entries, 16);
	__uint(value_size, 12);
	__ulong(map_extra, 7);
	__uint(numa_node, 2);
} last SEC(".maps");

int first(struct xdp_md *ctx);
int second(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [0] = (void *)&first, [3] = (void *)&second },
};

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_JIT __kconfig __weak;
extern int CONFIG_HZ __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern const void absent_symbol __ksym __weak;

volatile const int limit = 7;
volatile const _Bool verbose;
volatile const enum color paint = GREEN;
volatile const char label[12] = "label";
int counter = 5;
static volatile int calls;
static volatile __u64 bytes;
int zeroed[3];
volatile __u8 one_byte;

const char *volatile text = 0;

static long reached_as_callback(__u32 index, void *ctx)
{
	*(__u64 *)ctx += index;
	calls++;
	return 0;
}

static __noinline int static_function(int x)
{
	bytes += x;
	return x ^ calls;
}

__noinline int global_function(int x)
{
	return static_function(x) + counter;
}

__weak __noinline int weak_function(int x)
{
	return x * zeroed[2];
}

SEC("xdp")
int first(struct xdp_md *ctx)
{
	__u64 sum = 0;

	bpf_loop(3, reached_as_callback, &sum, 0);
	one_byte = sum;
	return limit + global_function(sum);
}

SEC("xdp")
int second(struct xdp_md *ctx)
{
	static const char format[] = "version %d";

	if (verbose)
		bpf_trace_printk(format, sizeof(format), LINUX_KERNEL_VERSION);
	if (CONFIG_BPF_JIT && &absent_symbol)
		return CONFIG_HZ;
	if (CONFIG_DEFAULT_HOSTNAME[0])
		return global_function(2);
	bpf_tail_call(ctx, &jumps, 3);
	return weak_function(ctx->data) + paint + label[0];
}

SEC("tc/ingress")
int classify(void *ctx)
{
	struct flow_key key = {};
	struct flow *flow = bpf_map_lookup_elem(&flows, &key);
	const char *word = ctx ? "some words" : "other words";

	bpf_trace_printk(word, 11);
	bpf_map_push_elem(&last, &key, 0);
	text = word;
	return flow ? flow->packets : weak_function(3);
}

char license_text[] SEC("license") = "Dual MIT/GPL";
