/* A map's descriptor is a real one: what close, dup, fork, exec and sockets do with it. */
#define _GNU_SOURCE
#include "check.h"

static void closing(void)
{
	int fd = hash_of(4);
	uint32_t key = 1;
	uint64_t value;

	put(fd, 1, 11);
	int copy = dup(fd);
	CHECK(close(fd) == 0);
	FAILS(EBADF, bpf_map_lookup_elem(fd, &key, &value));
	CHECK(close(fd) == -1 && errno == EBADF);
	CHECK(got(copy, 1) == 11);
	/* The number is another file's now, then another map's. */
	CHECK(open("/dev/null", O_RDONLY) == fd);
	FAILS(EINVAL, bpf_map_lookup_elem(fd, &key, &value));
	close(fd);
	int other = hash_of(4);
	CHECK(other == fd);
	FAILS(ENOENT, bpf_map_lookup_elem(other, &key, &value));
	close(other);

	/* All of the ways to close. */
	for (int way = 0; way < 5; way++) {
		fd = fcntl(copy, F_DUPFD, 20);
		CHECK(got(fd, 1) == 11);
		int null = open("/dev/null", O_RDWR);
		switch (way) {
		case 0:
			CHECK(dup2(null, fd) == fd);
			break;
		case 1:
			CHECK(dup3(null, fd, O_CLOEXEC) == fd);
			break;
		case 2:
			CHECK(close_range(fd, fd, 0) == 0 && dup2(null, fd) == fd);
			break;
		case 3:
			CHECK(fclose(fdopen(fd, "r")) == 0 && dup2(null, fd) == fd);
			break;
		case 4:
			closefrom(fd);
			CHECK(dup2(null, fd) == fd);
			break;
		}
		FAILS(EINVAL, bpf_map_lookup_elem(fd, &key, &value));
		close(null);
		close(fd);
	}
	char path[100];
	snprintf(path, sizeof(path), "%s/kept", getenv("USERMAP_DIR"));
	/* What closefrom left open is a whole map. */
	CHECK(bpf_obj_pin(copy, path) == 0 && unlink(path) == 0);
	CHECK(dup2(copy, copy) == copy && got(copy, 1) == 11);
	CHECK(dup2(fd, fd) == -1 && errno == EBADF);
	CHECK(dup2(copy, fd) == fd && got(fd, 1) == 11);
	CHECK(dup3(copy, copy, 0) == -1 && errno == EINVAL && got(copy, 1) == 11);
	CHECK(close_range(fd, fd, CLOSE_RANGE_CLOEXEC) == 0 && got(fd, 1) == 11);
	close(fd);
	close(copy);
}

static int exit_of(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void forking(void)
{
	int fd = hash_of(4);

	put(fd, 1, 1);
	pid_t child = fork();
	if (child == 0) {
		CHECK(got(fd, 1) == 1);
		put(fd, 2, 2);
		int own = hash_of(4);
		put(own, 1, 5);
		CHECK(close(fd) == 0 && got(own, 1) == 5);
		_exit(0);
	}
	CHECK(exit_of(child) == 0);
	CHECK(got(fd, 2) == 2);
	put(fd, 3, 3);
	close(fd);
}

static void executing(const char *self)
{
	char number[20];
	int fd = hash_of(4);

	put(fd, 1, 1);
	CHECK(fcntl(fd, F_SETFD, 0) == 0);
	snprintf(number, sizeof(number), "%d", fd);
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, "inherited", number, (char *)NULL);
		_exit(99);
	}
	CHECK(exit_of(child) == 0 && got(fd, 2) == 2);
	/* With FD_CLOEXEC nothing is inherited, nor is what the library keeps for itself. */
	CHECK(fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
	child = fork();
	if (child == 0) {
		execl(self, self, "nothing", (char *)NULL);
		_exit(99);
	}
	CHECK(exit_of(child) == 0);
	close(fd);
}

static int inherited(const char *number)
{
	int fd = atoi(number);

	CHECK(got(fd, 1) == 1);
	put(fd, 2, 2);
	return 0;
}

static int nothing(void)
{
	for (int fd = 3; fd < 4096; fd++)
		CHECK(usermap_map_len(fd) < 0);
	return 0;
}

static void send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	CHECK(sendmsg(socket, &message, 0) == 1);
}

static int receive_fd(int socket)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec data = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof(control)};
	int fd;

	CHECK(recvmsg(socket, &message, 0) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

static void sending(void)
{
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		int fd = receive_fd(ends[1]);
		CHECK(got(fd, 1) == 1);
		put(fd, 2, 2);
		_exit(0);
	}
	int fd = hash_of(4);
	put(fd, 1, 1);
	send_fd(ends[0], fd);
	CHECK(exit_of(child) == 0 && got(fd, 2) == 2);
	close(fd);
	close(ends[0]);
	close(ends[1]);
}

/* Threads that open, dup and close; each looks at its own numbers, which must be its own maps. */
enum { THREADS = 8, ROUNDS = 300 };
static int shared;

static void *hammer(void *argument)
{
	uint64_t number = (uintptr_t)argument;

	for (uint64_t round = 0; round < ROUNDS; round++) {
		int own = hash_of(4), copy = dup(own);
		put(own, 7, number << 32 | round);
		int file = open("/dev/null", O_RDONLY), again = dup(shared);
		uint32_t key = 7;
		uint64_t value;
		CHECK(got(copy, 7) == (number << 32 | round));
		FAILS(EINVAL, bpf_map_lookup_elem(file, &key, &value));
		CHECK(usermap_map_inc(again, &key, 1, 0) == 0);
		CHECK(dup2(again, copy) == copy);
		CHECK(usermap_map_inc(copy, &key, 1, 0) == 0);
		CHECK(got(own, 7) == (number << 32 | round));
		CHECK(close(own) == 0 && close(file) == 0 && close(again) == 0 && close(copy) == 0);
	}
	return NULL;
}

static void *fork_meanwhile(void *argument)
{
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		if (child == 0) {
			int own = hash_of(4);
			put(own, 1, 5);
			CHECK(got(own, 1) == 5 && close(own) == 0);
			uint32_t key = 9;
			CHECK(usermap_map_inc(shared, &key, 1, 0) == 0);
			_exit(0);
		}
		CHECK(exit_of(child) == 0);
	}
	return argument;
}

static void hammering(void)
{
	pthread_t threads[THREADS + 1];

	shared = hash_of(16);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, hammer, (void *)i) == 0);
	CHECK(pthread_create(&threads[THREADS], NULL, fork_meanwhile, NULL) == 0);
	for (int i = 0; i <= THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(got(shared, 7) == 2 * THREADS * ROUNDS && got(shared, 9) == 20);
	close(shared);
}

/* A thread reads while another closes: an answer of the map, or that there is none. */
static int target;
static int stop;

static void *read_on(void *argument)
{
	uint32_t key = 1;
	uint64_t value;

	do {
		int error = bpf_map_lookup_elem(target, &key, &value);
		CHECK((error == 0 && value == 42) || error == -EBADF);
	} while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE));
	return argument;
}

static void closing_while_reading(void)
{
	pthread_t threads[2];
	int keep = hash_of(4);

	put(keep, 1, 42);
	target = dup(keep);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, read_on, NULL) == 0);
	for (int round = 0; round < 3000; round++) {
		CHECK(close(target) == 0);
		CHECK(dup2(keep, target) == target);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	close(target);
	close(keep);
}

/* What is closed is gone: neither descriptors nor memory stay. */
static void leaving_nothing(void)
{
	int before = open("/dev/null", O_RDONLY), high = fcntl(before, F_DUPFD, 400);

	for (int round = 0; round < 2000; round++) {
		int fd = hash_of(4), copy = dup(fd);
		put(copy, 1, 1);
		CHECK(close(fd) == 0 && close(copy) == 0);
	}
	int after = open("/dev/null", O_RDONLY), still = fcntl(before, F_DUPFD, 400);
	CHECK(after == before + 1 && still == high + 1);
	close(before), close(after), close(high), close(still);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "inherited") == 0)
		return inherited(argv[2]);
	if (argc == 2 && strcmp(argv[1], "nothing") == 0)
		return nothing();
	closing();
	forking();
	executing(argv[0]);
	sending();
	hammering();
	closing_while_reading();
	leaving_nothing();
	puts("ok");
	return 0;
}
