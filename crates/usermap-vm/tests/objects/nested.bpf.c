/* A map of maps with an initialiser. */
#include "prelude.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &inner },
};

SEC("xdp")
int program(void *ctx)
{
	__u32 key = 1;
	return bpf_map_lookup_elem(&outer, &key) != 0;
}
