/* Maps with one of everything that BTF can say of a value, for the test `typed`. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum color { RED, GREEN = 5, DARK = -3 };
enum wide : unsigned long { HUGE_ONE = 0x123456789abcdef0UL };
typedef unsigned short port_t;
typedef char letter_t;
struct inner {
	int a;
	char tag[8];
};
union either {
	__u32 word;
	__u8 bytes[4];
};
struct value {
	__u64 packets;
	long balance;
	enum color color;
	enum wide wide;
	_Bool yes;
	char letter;
	signed char small;
	unsigned char byte;
	char text[8];
	char grid[2][4];
	struct inner in;
	union either either;
	port_t ports[3];
	letter_t letters[4];
	unsigned int low : 3;
	int high : 5;
	enum color color_bits : 4;
	unsigned long forty : 40;
	void *pointer;
	__u8 mac[6];
	struct {
		int anonymous;
	};
	int none[0];
	const char *const string;
	__int128 large;
	struct inner two[2];
	volatile const int constant;
	_Bool flags[2];
};
struct key {
	__u32 ip;
	__u16 port;
	__u8 protocol;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct value);
} flows SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct inner);
} slots SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2);
	__type(key, enum color);
	__type(value, __u64);
} totals SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, enum color);
} colors SEC(".maps");
struct matrix {
	int rows[2][3];
	char name[16];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct matrix);
} matrices SEC(".maps");

int counter = 7;
struct inner state = { 3, "hey" };

SEC("xdp")
int touch(struct xdp_md *context)
{
	struct key key = {};
	int zero = 0;
	long found = 0;

	found += !!bpf_map_lookup_elem(&flows, &key);
	found += !!bpf_map_lookup_elem(&slots, &zero);
	found += !!bpf_map_lookup_elem(&totals, &zero);
	found += !!bpf_map_lookup_elem(&colors, &zero);
	found += !!bpf_map_lookup_elem(&matrices, &zero);
	counter += found;
	state.a++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
