/* Every function of libbpf's that the library has, and how each fails. */
#include "check.h"

#define ENOTSUPP 524
#define BAD ((void *)8)

static void elements(void)
{
	int fd = hash_of(2);
	uint32_t key = 1, next = 0;
	uint64_t value = 10;

	CHECK(bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST) == 0);
	FAILS(EEXIST, bpf_map_update_elem(fd, &key, &value, BPF_NOEXIST));
	FAILS(EINVAL, bpf_map_update_elem(fd, &key, &value, 99));
	put(fd, 2, 20);
	key = 3;
	FAILS(E2BIG, bpf_map_update_elem(fd, &key, &value, BPF_ANY));
	FAILS(ENOENT, bpf_map_update_elem(fd, &key, &value, BPF_EXIST));
	FAILS(ENOENT, bpf_map_lookup_elem(fd, &key, &value));
	FAILS(ENOENT, bpf_map_delete_elem(fd, &key));
	CHECK(got(fd, 2) == 20);
	key = 2;
	FAILS(EINVAL, bpf_map_lookup_elem_flags(fd, &key, &value, BPF_F_LOCK));
	FAILS(EINVAL, bpf_map_delete_elem_flags(fd, &key, 1));

	CHECK(bpf_map_get_next_key(fd, NULL, &next) == 0);
	key = next;
	CHECK(bpf_map_get_next_key(fd, &key, &next) == 0 && next == 3 - key);
	key = next;
	FAILS(ENOENT, bpf_map_get_next_key(fd, &key, &next));

	key = 2;
	CHECK(bpf_map_lookup_and_delete_elem(fd, &key, &value) == 0 && value == 20);
	FAILS(ENOENT, bpf_map_lookup_and_delete_elem(fd, &key, &value));
	key = 1;
	FAILS(EINVAL, bpf_map_lookup_and_delete_elem_flags(fd, &key, &value, 1 << 7));
	CHECK(bpf_map_lookup_and_delete_elem_flags(fd, &key, &value, 0) == 0 && value == 10);
	put(fd, 7, 1);
	key = 7;
	CHECK(bpf_map_delete_elem_flags(fd, &key, 0) == 0);
	CHECK(close(fd) == 0);
}

static void bad_addresses(void)
{
	int fd = hash_of(4);
	uint32_t key = 1, count = 1;
	uint64_t value = 5;

	FAILS(EFAULT, bpf_map_update_elem(fd, BAD, &value, 0));
	FAILS(EFAULT, bpf_map_update_elem(fd, &key, BAD, 0));
	FAILS(EFAULT, bpf_map_update_elem(fd, NULL, &value, 0));
	FAILS(EFAULT, bpf_map_update_elem(fd, (void *)0xdead000000000000, &value, 0));
	FAILS(ENOENT, bpf_map_lookup_elem(fd, &key, &value));
	put(fd, 1, 5);
	FAILS(EFAULT, bpf_map_lookup_elem(fd, &key, BAD));
	FAILS(EFAULT, bpf_map_lookup_elem(fd, BAD, &value));
	FAILS(EFAULT, bpf_map_delete_elem(fd, BAD));
	FAILS(EFAULT, bpf_map_get_next_key(fd, NULL, BAD));
	FAILS(EFAULT, bpf_map_get_next_key(fd, BAD, &key));
	FAILS(EFAULT, bpf_map_update_batch(fd, BAD, &value, &count, NULL));
	FAILS(EFAULT, bpf_map_update_batch(fd, &key, &value, NULL, NULL));
	FAILS(EFAULT, bpf_map_create(BPF_MAP_TYPE_HASH, BAD, 4, 8, 4, NULL));
	FAILS(EFAULT, bpf_obj_pin(fd, BAD));
	FAILS(EFAULT, bpf_obj_get(NULL));
	FAILS(EFAULT, bpf_obj_get_info_by_fd(fd, &key, NULL));
	FAILS(EFAULT, usermap_map_inc(fd, BAD, 1, 0));

	/* A key that ends where memory does, and one that goes on past its end. */
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED && munmap(pages + 4096, 4096) == 0);
	memcpy(pages + 4092, &key, 4);
	CHECK(bpf_map_lookup_elem(fd, pages + 4092, &value) == 0 && value == 5);
	FAILS(EFAULT, bpf_map_lookup_elem(fd, pages + 4093, &value));
	/* What may only be read is not written to. */
	CHECK(mprotect(pages, 4096, PROT_READ) == 0);
	FAILS(EFAULT, bpf_map_lookup_elem(fd, &key, pages));

	/* The kernel takes the element out before it finds that the value has nowhere to go. */
	FAILS(EFAULT, bpf_map_lookup_and_delete_elem(fd, &key, BAD));
	FAILS(ENOENT, bpf_map_lookup_elem(fd, &key, &value));
	CHECK(close(fd) == 0);
}

static void bad_descriptors(void)
{
	int null = open("/dev/null", O_RDWR), file = open("/proc/self/exe", O_RDONLY);
	uint32_t key = 0, length = sizeof(struct bpf_map_info), count = 1;
	uint64_t value;
	struct bpf_map_info info = {0};

	FAILS(EBADF, bpf_map_lookup_elem(-1, &key, &value));
	FAILS(EBADF, bpf_map_lookup_elem(12345, &key, &value));
	FAILS(EINVAL, bpf_map_lookup_elem(null, &key, &value));
	FAILS(EINVAL, bpf_map_update_elem(file, &key, &value, 0));
	FAILS(EBADF, bpf_map_delete_elem(-1, &key));
	FAILS(EBADF, bpf_map_get_next_key(-1, NULL, &key));
	FAILS(EBADF, bpf_map_freeze(-1));
	FAILS(EINVAL, bpf_map_freeze(null));
	FAILS(EBADF, bpf_map_lookup_batch(-1, NULL, &key, &key, &value, &count, NULL));
	FAILS(EBADFD, bpf_obj_get_info_by_fd(-1, &info, &length));
	FAILS(EINVAL, bpf_obj_pin(null, "/tmp/nothing"));
	FAILS(EBADF, usermap_map_inc(-1, &key, 1, 0));
	FAILS(EINVAL, usermap_map_len(null));
	close(null);
	close(file);
}

static void creation(void)
{
	struct bpf_map_create_opts opts = {.sz = sizeof(opts), .map_flags = BPF_F_NO_PREALLOC};
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);
	struct {
		struct bpf_map_create_opts opts;
		char more[100];
	} longer = {.opts = {.sz = sizeof(longer), .map_flags = BPF_F_NO_PREALLOC}};

	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "a_name_that_is_too_long", 4, 8, 3, &opts);
	CHECK(fd >= 3);
	CHECK(bpf_obj_get_info_by_fd(fd, &info, &length) == 0);
	CHECK(info.type == BPF_MAP_TYPE_HASH && info.key_size == 4 && info.value_size == 8);
	CHECK(info.max_entries == 3 && info.map_flags == BPF_F_NO_PREALLOC && info.id != 0);
	CHECK(strcmp(info.name, "a_name_that_is_") == 0);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	close(fd);

	fd = bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 3, &longer.opts);
	CHECK(fd >= 3);
	close(fd);
	longer.more[99] = 1;
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 3, &longer.opts));
	opts.sz = 4;
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 3, &opts));
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 0, NULL));
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 8, 8, 1, NULL));
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_HASH, "a b", 4, 8, 3, NULL));
	opts.sz = offsetof(struct bpf_map_create_opts, map_extra);
	opts.map_flags = BPF_F_RDONLY | BPF_F_WRONLY;
	FAILS(EINVAL, bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 3, &opts));
	FAILS(EFAULT, bpf_map_create(BPF_MAP_TYPE_HASH, NULL, 4, 8, 3, BAD));
}

static void rights(void)
{
	struct bpf_map_create_opts opts = {.sz = sizeof(opts), .map_flags = BPF_F_RDONLY};
	uint32_t key = 0;
	uint64_t value = 1;

	int reader = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, &opts);
	CHECK(reader >= 3 && got(reader, 0) == 0);
	FAILS(EPERM, bpf_map_update_elem(reader, &key, &value, 0));
	FAILS(EPERM, bpf_map_freeze(reader));
	opts.map_flags = BPF_F_WRONLY;
	int writer = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, &opts);
	CHECK(writer >= 3 && bpf_map_update_elem(writer, &key, &value, 0) == 0);
	FAILS(EPERM, bpf_map_lookup_elem(writer, &key, &value));
	/* Rights go where the descriptor goes. */
	int copies[] = {dup(reader), dup(writer)};
	FAILS(EPERM, bpf_map_update_elem(copies[0], &key, &value, 0));
	FAILS(EPERM, bpf_map_lookup_elem(copies[1], &key, &value));
	CHECK(bpf_map_update_elem(copies[1], &key, &value, 0) == 0);

	int frozen = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	CHECK(bpf_map_freeze(frozen) == 0);
	FAILS(EPERM, bpf_map_freeze(frozen));
	FAILS(EPERM, bpf_map_update_elem(frozen, &key, &value, 0));
	CHECK(got(frozen, 0) == 0);
	int all[] = {reader, writer, copies[0], copies[1], frozen};
	for (int i = 0; i < 5; i++)
		CHECK(close(all[i]) == 0);
}

static void batches(void)
{
	struct bpf_map_batch_opts opts = {.sz = sizeof(opts), .elem_flags = BPF_NOEXIST};
	int fd = hash_of(100);
	uint32_t keys[100], count = 100, token = 0, seen = 0;
	uint64_t values[100];

	for (uint32_t i = 0; i < 100; i++) {
		keys[i] = i;
		values[i] = i * i;
	}
	CHECK(bpf_map_update_batch(fd, keys, values, &count, NULL) == 0 && count == 100);
	CHECK(got(fd, 9) == 81);
	FAILS(EINVAL, bpf_map_update_batch(fd, keys, values, &count, &opts));
	opts.elem_flags = 0;
	opts.flags = 1;
	count = 1;
	FAILS(EINVAL, bpf_map_lookup_batch(fd, NULL, &token, keys, values, &count, &opts));

	for (void *from = NULL;; from = &token) {
		count = 50;
		int error = bpf_map_lookup_batch(fd, from, &token, keys, values, &count, NULL);
		CHECK(error == 0 || error == -ENOENT);
		for (uint32_t i = 0; i < count; i++)
			CHECK(values[i] == (uint64_t)keys[i] * keys[i]);
		seen += count;
		if (error)
			break;
	}
	CHECK(seen == 100);
	count = 100;
	FAILS(ENOENT, bpf_map_lookup_and_delete_batch(fd, NULL, &token, keys, values, &count, NULL));
	CHECK(count == 100 && usermap_map_len(fd) == 0);
	put(fd, 1, 1);
	put(fd, 2, 2);
	keys[0] = 1, keys[1] = 2, keys[2] = 3, count = 3;
	FAILS(ENOENT, bpf_map_delete_batch(fd, keys, &count, NULL));
	CHECK(count == 2 && usermap_map_len(fd) == 0);
	close(fd);
}

static void per_cpu(void)
{
	int cpus = libbpf_num_possible_cpus();
	CHECK(cpus >= 1);
	int fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, NULL, 4, 4, 2, NULL);
	uint64_t *values = calloc(cpus, 8);
	uint32_t key = 1;

	CHECK(fd >= 3 && usermap_map_cpus(fd) == cpus && usermap_map_value_bytes(fd) == cpus * 8);
	for (int i = 0; i < cpus; i++)
		values[i] = i + 1;
	CHECK(bpf_map_update_elem(fd, &key, values, 0) == 0);
	memset(values, 0, cpus * 8);
	CHECK(bpf_map_lookup_elem(fd, &key, values) == 0);
	for (int i = 0; i < cpus; i++)
		CHECK(values[i] == (uint64_t)i + 1);
	free(values);
	close(fd);
}

static void rings(void)
{
	int queue = bpf_map_create(BPF_MAP_TYPE_QUEUE, NULL, 0, 4, 2, NULL);
	uint32_t value = 1, other = 0;

	CHECK(queue >= 3);
	FAILS(EINVAL, bpf_map_update_elem(queue, &other, &value, 0));
	CHECK(bpf_map_update_elem(queue, NULL, &value, 0) == 0);
	value = 2;
	CHECK(bpf_map_update_elem(queue, NULL, &value, 0) == 0);
	FAILS(E2BIG, bpf_map_update_elem(queue, NULL, &value, 0));
	CHECK(bpf_map_lookup_elem(queue, NULL, &value) == 0 && value == 1);
	CHECK(bpf_map_lookup_and_delete_elem(queue, NULL, &value) == 0 && value == 1);
	FAILS(EINVAL, bpf_map_delete_elem(queue, NULL));
	FAILS(ENOTSUPP, bpf_map_lookup_batch(queue, NULL, &value, &value, &value, &value, NULL));
	close(queue);
}

static void pins(const char *folder)
{
	char path[200];
	struct bpf_obj_get_opts opts = {.sz = sizeof(opts), .file_flags = BPF_F_RDONLY};
	uint32_t key = 1;
	uint64_t value = 2;

	snprintf(path, sizeof(path), "%s/pin", folder);
	int fd = hash_of(4);
	put(fd, 1, 11);
	FAILS(ENOENT, bpf_obj_get(path));
	CHECK(bpf_obj_pin(fd, path) == 0);
	FAILS(EEXIST, bpf_obj_pin(fd, path));
	CHECK(close(fd) == 0);
	fd = bpf_obj_get(path);
	CHECK(fd >= 3 && got(fd, 1) == 11);
	int reader = bpf_obj_get_opts(path, &opts);
	CHECK(reader >= 3 && got(reader, 1) == 11);
	FAILS(EPERM, bpf_map_update_elem(reader, &key, &value, 0));
	CHECK(unlink(path) == 0);
	CHECK(got(fd, 1) == 11);
	close(fd);
	close(reader);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	elements();
	bad_addresses();
	bad_descriptors();
	creation();
	rights();
	batches();
	per_cpu();
	rings();
	pins(argv[1]);
	puts("ok");
	return 0;
}
