/* An example's skeleton, as bpftool generates it: open, set globals, load, run, read maps. */
#include "rate_limit.skel.h"
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s: %s\n", __LINE__, #condition, strerror(errno)); \
            exit(1); \
        } \
    } while (0)

/* As in the example. */
struct bucket {
    __u32 lock;
    __u32 unused;
    __u64 tokens;
    __u64 filled_at;
    __u64 passed;
    __u64 dropped;
};

int main(void)
{
    struct {
        struct ethhdr ethernet;
        struct iphdr ip;
        struct udphdr udp;
        char data[32];
    } __attribute__((packed)) packet = {
        .ethernet.h_proto = htons(ETH_P_IP),
        .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = 17, .saddr = htonl(0x0a000001),
                .daddr = htonl(0x0a000002),
                .tot_len = htons(sizeof(packet) - sizeof(struct ethhdr)) },
        .udp = { .source = htons(1000), .dest = htons(53), .len = htons(40) },
    };
    char out[256];
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = &packet, .data_size_in = sizeof(packet),
                .data_out = out, .data_size_out = sizeof(out));
    struct rate_limit_bpf *skeleton = rate_limit_bpf__open();
    struct bucket bucket;
    char key[16], next[16];
    int passed = 0, dropped = 0, program, map;

    CHECK(skeleton);
    CHECK(skeleton->rodata->rate == 1000);
    skeleton->rodata->rate = 1;
    skeleton->rodata->burst = 5;
    skeleton->rodata->packet_ns = 1000000;
    CHECK(!rate_limit_bpf__load(skeleton));
    CHECK(skeleton->rodata->burst == 5);
    program = bpf_program__fd(skeleton->progs.rate_limit);
    map = bpf_map__fd(skeleton->maps.buckets);
    for (int packets = 0; packets < 12; packets++) {
        options.data_size_out = sizeof(out);
        CHECK(!bpf_prog_test_run_opts(program, &options));
        CHECK(options.data_size_out == sizeof(packet) && !memcmp(out, &packet, sizeof(packet)));
        passed += options.retval == 2;  /* XDP_PASS */
        dropped += options.retval == 1; /* XDP_DROP */
    }
    CHECK(!bpf_map_get_next_key(map, NULL, key));
    CHECK(bpf_map_get_next_key(map, key, next) && errno == ENOENT);
    CHECK(!bpf_map_lookup_elem(map, key, &bucket));
    CHECK((int)bucket.passed == passed && (int)bucket.dropped == dropped);
    CHECK(passed == 5 && dropped == 7);
    CHECK(skeleton->bss->clock_ns == 12 * 1000000);
    puts("skeleton: the bucket counted every packet");
    rate_limit_bpf__destroy(skeleton);
    return 0;
}
