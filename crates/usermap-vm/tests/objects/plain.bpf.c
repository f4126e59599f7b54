/* An object as aya-ebpf makes them: maps of seven words, no types of them, sections of Rust's. */
#include "prelude.h"

struct bpf_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
};

struct bpf_map_def COUNTERS SEC("maps") = { 6, 4, 8, 256, 0, 0, 0 };
struct bpf_map_def FLOWS SEC("maps") = { 1, 12, 16, 1024, 1, 0, 1 };

const volatile __u32 LIMIT SEC(".rodata") = 3;
static const char message[] = "dropped";

static __noinline long helper(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&COUNTERS, &key);
	return value ? *value : LIMIT;
}

__attribute__((visibility("hidden"))) __noinline int not_inlined(int x)
{
	return x - helper(x);
}

SEC("classifier")
int classify(void *ctx)
{
	__u64 key[2] = {};

	if (bpf_map_lookup_elem(&FLOWS, key))
		bpf_trace_printk(message, sizeof(message));
	return not_inlined(4);
}

SEC("xdp")
int filter(void *ctx)
{
	return helper(1) ? XDP_PASS : XDP_DROP;
}

char license_text[] SEC("license") = "GPL";
