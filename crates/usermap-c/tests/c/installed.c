/* Counts words, with the library as it is installed: cc count.c $(pkg-config --cflags --libs usermap) */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <usermap.h>

static int print(const void *key, const void *value, void *context)
{
	(void)context;
	printf("%-8.16s %llu\n", (const char *)key, *(const unsigned long long *)value);
	return 0;
}

int main(void)
{
	const char *words[] = {"to", "be", "or", "not", "to", "be"};
	char first[16] = {0}, last[16];
	unsigned long long count;
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "words", 16, sizeof(count), 1024, NULL);

	if (fd < 0) {
		perror("bpf_map_create");
		return 1;
	}
	for (int i = 0; i < 6; i++) {
		char key[16] = {0};
		strncpy(key, words[i], sizeof(key) - 1);
		if (usermap_map_inc(fd, key, 1, BPF_ANY) < 0)
			perror(words[i]);
	}
	memset(last, 0xff, sizeof(last));
	usermap_map_lookup_range(fd, first, last, print, NULL);

	/* Errors are libbpf's: a negative number, and errno. */
	if (bpf_map_lookup_elem(fd, "question\0\0\0\0\0\0\0", &count) < 0)
		perror("question");
	return close(fd);
}
