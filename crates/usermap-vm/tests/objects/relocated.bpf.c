/* CO-RE relocations of all kinds, against this object's own types. */
#include "prelude.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inner {
	int a;
	int list[4];
};
struct outer {
	__u64 first;
	struct inner inner;
	__u32 low : 5;
	int high : 13;
	__u16 last;
};
#pragma clang attribute pop

typedef struct outer outer_t;
enum level { LOW = 3, HIGH = 12 };

struct results {
	__u64 at[24];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct results);
} results SEC(".maps");

#define FIELD(kind, field) __builtin_preserve_field_info(((struct outer *)0)->field, kind)

SEC("syscall")
int relocate(struct outer *ctx)
{
	__u32 key = 0;
	struct results *to = bpf_map_lookup_elem(&results, &key);

	if (!to)
		return 0;
	to->at[0] = FIELD(0, inner.list[2]);
	to->at[1] = FIELD(1, inner.list[2]);
	to->at[2] = FIELD(2, last);
	to->at[3] = FIELD(3, inner.a);
	to->at[4] = FIELD(0, low);
	to->at[5] = FIELD(1, low);
	to->at[6] = FIELD(3, low);
	to->at[7] = FIELD(4, low);
	to->at[8] = FIELD(5, low);
	to->at[9] = FIELD(0, high);
	to->at[10] = FIELD(3, high);
	to->at[11] = FIELD(4, high);
	to->at[12] = FIELD(5, high);
	to->at[13] = __builtin_preserve_type_info(*(struct outer *)0, 0);
	to->at[14] = __builtin_preserve_type_info(*(outer_t *)0, 1);
	to->at[15] = __builtin_preserve_enum_value(*(typeof(enum level) *)HIGH, 0);
	to->at[16] = __builtin_preserve_enum_value(*(typeof(enum level) *)HIGH, 1);
	to->at[17] = __builtin_btf_type_id(*(struct inner *)0, 0);
	to->at[18] = __builtin_btf_type_id(*(struct inner *)0, 1);
	to->at[19] = __builtin_preserve_type_info(*(struct outer *)0, 2);
	return ctx->inner.list[1] + ctx->last;
}
