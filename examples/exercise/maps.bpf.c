/* Every operation on every kind of map that the kernel has, with every flag. */
#include "exercise.h"

#define MAP(name_, type_, entries_)                                                                \
    struct {                                                                                       \
        __uint(type, type_);                                                                       \
        __uint(max_entries, entries_);                                                             \
        __type(key, __u32);                                                                        \
        __type(value, __u64);                                                                      \
    } name_ SEC(".maps")
#define RING(name_, type_, entries_)                                                               \
    struct {                                                                                       \
        __uint(type, type_);                                                                       \
        __uint(max_entries, entries_);                                                             \
        __type(value, __u64);                                                                      \
    } name_ SEC(".maps")

MAP(hash, BPF_MAP_TYPE_HASH, 4);
MAP(array, BPF_MAP_TYPE_ARRAY, 4);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, 4);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 4);
RING(queue, BPF_MAP_TYPE_QUEUE, 3);
RING(stack, BPF_MAP_TYPE_STACK, 3);

/* Nine results from `at` on. */
static __always_inline void keyed(void *map, __u32 at)
{
    __u32 key = 1, absent = 77;
    __u64 value = 5, *found;

    put(at, bpf_map_update_elem(map, &key, &value, BPF_ANY));
    put(at + 1, bpf_map_update_elem(map, &key, &value, BPF_NOEXIST));
    value = 6;
    put(at + 2, bpf_map_update_elem(map, &key, &value, BPF_EXIST));
    put(at + 3, bpf_map_update_elem(map, &absent, &value, BPF_EXIST));
    found = bpf_map_lookup_elem(map, &key);
    put(at + 4, found ? *found : -1);
    if (found)
        *found += 10;
    put(at + 5, bpf_map_lookup_elem(map, &absent) != NULL);
    put(at + 6, bpf_map_delete_elem(map, &absent));
    key = 2;
    bpf_map_update_elem(map, &key, &value, BPF_ANY);
    put(at + 7, bpf_map_delete_elem(map, &key));
    put(at + 8, bpf_map_update_elem(map, &key, &value, 99));
}

SEC("tc")
int keyed_maps(struct __sk_buff *skb)
{
    keyed(&hash, 0);
    keyed(&array, 10);
    keyed(&percpu_hash, 20);
    keyed(&percpu_array, 30);
    return TC_ACT_OK;
}

/* A hash that is too small: what is refused, and that room comes back. */
SEC("tc")
int full_hash(struct __sk_buff *skb)
{
    __s64 updates = 0, deletes = 0;

    /* The verifier loses sight of a number whose address is taken: not the loop's own. */
    for (__u32 i = 10; i < 16; i++) {
        __u32 key = i;
        __u64 value = i;

        updates += bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
    }
    for (__u32 i = 10; i < 16; i++) {
        __u32 key = i;

        deletes += bpf_map_delete_elem(&hash, &key);
    }
    put(40, updates);
    put(41, deletes);
    return TC_ACT_OK;
}

/* Seven results from `at` on. */
static __always_inline void ring(void *map, __u32 at)
{
    __u64 value;
    __s64 pushed = 0;

    for (value = 1; value <= 3; value++)
        pushed += bpf_map_push_elem(map, &value, BPF_ANY);
    put(at, pushed);
    put(at + 1, bpf_map_push_elem(map, &value, BPF_ANY));
    put(at + 2, bpf_map_push_elem(map, &value, BPF_EXIST));
    put(at + 3, bpf_map_peek_elem(map, &value) ?: value);
    put(at + 4, bpf_map_pop_elem(map, &value) ?: value);
    bpf_map_pop_elem(map, &value);
    bpf_map_pop_elem(map, &value);
    put(at + 5, bpf_map_pop_elem(map, &value));
    put(at + 6, value);
}

SEC("tc")
int rings(struct __sk_buff *skb)
{
    __u64 left = 42;

    ring(&queue, 42);
    ring(&stack, 50);
    bpf_map_push_elem(&queue, &left, BPF_ANY);
    bpf_map_push_elem(&stack, &left, BPF_ANY);
    return TC_ACT_OK;
}
