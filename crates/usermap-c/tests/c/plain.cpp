// The header is good C++.
#include <usermap.h>

#include <cstdio>

int main()
{
	int fd = usermap_map_create(USERMAP_PERCPU_QUEUE, "events", 0, sizeof(long), 8, nullptr);
	long value = 42, popped = 0;
	if (fd < 0 || usermap_map_push(fd, &value, USERMAP_ON_CPU(0)) != 0)
		return 1;
	if (usermap_map_pop(fd, &popped, USERMAP_ON_CPU(0)) != 0 || popped != 42)
		return 2;
	int hash = bpf_map_create(BPF_MAP_TYPE_HASH, "hash", 4, 8, 16, nullptr);
	__u32 key = 1;
	if (usermap_map_inc(hash, &key, 1, BPF_ANY) != 0)
		return 3;
	std::puts("ok");
	return 0;
}
