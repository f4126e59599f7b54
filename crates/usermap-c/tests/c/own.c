/* The functions of usermap.h. */
#include "check.h"

static int add(const void *key, const void *value, void *context)
{
	uint64_t *sums = context;
	sums[0] += *(const uint32_t *)key;
	sums[1] += *(const uint64_t *)value;
	return 0;
}

static int only_one(const void *key, const void *value, void *context)
{
	(void)value;
	*(uint32_t *)context = *(const uint32_t *)key;
	return 1;
}

static void numbers(void)
{
	int fd = hash_of(2);
	uint32_t key = 1;
	uint64_t sum = 99;

	FAILS(ENOENT, usermap_map_inc(fd, &key, 1, BPF_EXIST));
	CHECK(usermap_map_inc(fd, &key, 5, BPF_ANY) == 0);
	FAILS(EEXIST, usermap_map_inc_and_return(fd, &key, 1, &sum, BPF_NOEXIST));
	CHECK(sum == 99);
	CHECK(usermap_map_inc_and_return(fd, &key, -6, &sum, BPF_ANY) == 0 && sum == UINT64_MAX);
	close(fd);
}

static void ranges(void)
{
	int fd = usermap_map_create(BPF_MAP_TYPE_ARRAY, "numbers", 4, 8, 10, NULL);
	uint64_t sums[2] = {0}, value = 7;
	uint32_t first = 2, last = 4;

	CHECK(fd >= 3 && usermap_map_len(fd) == 10);
	CHECK(usermap_map_update_range(fd, &first, &last, &value) == 3);
	CHECK(usermap_map_for_each(fd, add, sums) == 10 && sums[0] == 45 && sums[1] == 21);
	sums[0] = sums[1] = 0;
	CHECK(usermap_map_lookup_range(fd, &last, &last, add, sums) == 1);
	CHECK(sums[0] == 4 && sums[1] == 7);
	CHECK(usermap_map_for_each(fd, only_one, &first) == 1 && first == 0);
	CHECK(usermap_map_delete_range(fd, &first, &last) == 5 && got(fd, 3) == 0);
	CHECK(usermap_map_clear(fd) == 10);
	FAILS(EFAULT, usermap_map_for_each(fd, NULL, NULL));
	FAILS(EFAULT, usermap_map_delete_range(fd, NULL, &last));
	CHECK(usermap_map_sync(fd) == 0);
	close(fd);
}

static void per_cpu_rings(void)
{
	struct usermap_create_opts opts = {.sz = sizeof(opts), .cpus = 3};
	int stack = usermap_map_create(USERMAP_PERCPU_STACK, NULL, 0, 4, 2, &opts);
	int queue = usermap_map_create(USERMAP_PERCPU_QUEUE, NULL, 0, 4, 2, &opts);
	uint32_t value;

	CHECK(stack >= 3 && queue >= 3 && usermap_map_cpus(stack) == 3);
	for (value = 1; value <= 2; value++) {
		CHECK(usermap_map_push(stack, &value, USERMAP_ON_CPU(1)) == 0);
		CHECK(usermap_map_push(queue, &value, USERMAP_ON_CPU(2)) == 0);
	}
	FAILS(E2BIG, usermap_map_push(stack, &value, USERMAP_ON_CPU(1)));
	CHECK(usermap_map_push(stack, &value, USERMAP_ON_CPU(1) | BPF_EXIST) == 0);
	CHECK(usermap_map_len_on(stack, 1) == 2 && usermap_map_len_on(stack, 0) == 0);
	CHECK(usermap_map_peek(stack, &value, USERMAP_ON_CPU(1)) == 0 && value == 3);
	CHECK(usermap_map_pop(queue, &value, USERMAP_ON_CPU(2)) == 0 && value == 1);
	FAILS(ENOENT, usermap_map_pop(queue, &value, USERMAP_ON_CPU(0)));
	FAILS(ERANGE, usermap_map_pop(queue, &value, USERMAP_ON_CPU(3)));
	FAILS(EINVAL, usermap_map_len_on(hash_of(1), 0));
	CHECK(usermap_map_clear(stack) == 2);
	close(stack);
	close(queue);
}

static void paths(const char *folder)
{
	char path[200];
	uint32_t key = 1;
	uint64_t value = 1;

	snprintf(path, sizeof(path), "%s/own", folder);
	FAILS(ENOENT, usermap_map_open(path, 0));
	FAILS(ENOENT, usermap_map_open("", 0));
	int fd = usermap_map_create_pinned(path, BPF_MAP_TYPE_HASH, "own", 4, 8, 4, NULL);
	CHECK(fd >= 3);
	FAILS(EEXIST, usermap_map_create_pinned(path, BPF_MAP_TYPE_HASH, "own", 4, 8, 4, NULL));
	put(fd, 1, 100);
	int again = usermap_map_open_or_create(path, BPF_MAP_TYPE_HASH, "own", 4, 8, 4, NULL);
	CHECK(again >= 3 && got(again, 1) == 100);
	FAILS(EEXIST, usermap_map_open_or_create(path, BPF_MAP_TYPE_HASH, "own", 4, 8, 5, NULL));
	int reader = usermap_map_open(path, BPF_F_RDONLY);
	CHECK(reader >= 3 && got(reader, 1) == 100);
	FAILS(EPERM, bpf_map_update_elem(reader, &key, &value, 0));
	int writer = usermap_map_open(path, BPF_F_WRONLY);
	CHECK(writer >= 3 && bpf_map_update_elem(writer, &key, &value, 0) == 0);
	FAILS(EPERM, bpf_map_lookup_elem(writer, &key, &value));
	FAILS(EINVAL, usermap_map_open(path, BPF_F_RDONLY | BPF_F_WRONLY));
	CHECK(got(fd, 1) == 1 && unlink(path) == 0);
	close(fd);
	close(again);
	close(reader);
	close(writer);
}

static void pages_of_2_mib(void)
{
	const int64_t page = 2 << 20;
	struct usermap_create_opts opts = {.sz = sizeof(opts), .own_flags = USERMAP_HUGE_PAGES};
	int small = usermap_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 4, &opts);
	int large = usermap_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1 << 20, &opts);
	int64_t huge = usermap_map_huge_bytes(large);

	CHECK(small >= 3 && usermap_map_huge_bytes(small) == 0);
	/* How many there are is the system's to say: of 8 MiB and a little, none to all. */
	CHECK(huge >= 0 && huge <= 4 * page && huge % page == 0);
	put(large, (1 << 20) - 1, 7);
	CHECK(got(large, (1 << 20) - 1) == 7 && got(large, 0) == 0);

	/* All memory at once, and none before it is used. */
	opts.map_flags = BPF_F_NO_PREALLOC;
	FAILS(EINVAL, usermap_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 4, &opts));
	/* As compiled before there were own_flags: what is past sz is not looked at. */
	opts.sz = offsetof(struct usermap_create_opts, own_flags);
	int usual = usermap_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 4, &opts);
	CHECK(usual >= 3);
	opts.sz = sizeof(opts);
	opts.own_flags = 1ULL << 63;
	FAILS(EINVAL, usermap_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 4, &opts));
	FAILS(EBADF, usermap_map_huge_bytes(-1));
	close(small);
	close(large);
	close(usual);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	numbers();
	ranges();
	per_cpu_rings();
	pages_of_2_mib();
	paths(argv[1]);
	puts("ok");
	return 0;
}
