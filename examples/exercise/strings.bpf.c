/* Text: compared, read as numbers, printed. */
#include "exercise.h"

struct line {
    char text[64];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 8);
    __type(key, __u32);
    __type(value, struct line);
} lines SEC(".maps");

static char *line(__u32 index)
{
    struct line *line = bpf_map_lookup_elem(&lines, &index);

    return line ? line->text : NULL;
}

const char same[] = "usermap";
const char longer[] = "usermaps";

SEC("tc")
int compare(struct __sk_buff *skb)
{
    char text[8] = "usermap";
    char other[8] = "userMAP";
    char beginning[8] = "user";

    put(0, bpf_strncmp(text, sizeof(text), same));
    put(1, bpf_strncmp(other, sizeof(other), same) < 0);
    put(2, bpf_strncmp(text, sizeof(text), longer));
    put(3, bpf_strncmp(text, 4, longer));
    put(4, bpf_strncmp(beginning, sizeof(beginning), same) < 0);
    return TC_ACT_OK;
}

SEC("tc")
int numbers(struct __sk_buff *skb)
{
    char decimal[] = "  -123 rest", hex[] = "0xff", octal[] = "0777", none[] = "none";
    char large[] = "99999999999999999999";
    long number = 0;
    unsigned long positive = 0;

    put(10, bpf_strtol(decimal, sizeof(decimal), 0, &number));
    put(11, number);
    put(12, bpf_strtoul(hex, sizeof(hex), 0, &positive));
    put(13, positive);
    put(14, bpf_strtoul(octal, sizeof(octal), 0, &positive));
    put(15, positive);
    put(16, bpf_strtol(none, sizeof(none), 0, &number));
    put(17, bpf_strtoul(large, sizeof(large), 10, &positive));
    put(18, bpf_strtoul(decimal, sizeof(decimal), 10, &positive));
    put(19, bpf_strtol(hex, sizeof(hex), 16, &number));
    put(20, bpf_strtol(hex, sizeof(hex), 7, &number));
    put(21, number);
    return TC_ACT_OK;
}

SEC("tc")
int print(struct __sk_buff *skb)
{
    __be32 address = bpf_htonl(0xc0000201);
    char word[] = "word";
    char *to;

    to = line(0);
    if (to)
        put(30, BPF_SNPRINTF(to, 64, "%d %i %u %x %X", -1, 2, 3, 0xab, 0xcd));
    to = line(1);
    if (to)
        put(31, BPF_SNPRINTF(to, 64, "%lld %llu %llx|%5d|%-5d|%05d|%%", -1LL, 1ULL << 63, 255ULL,
                             42, 42, 42));
    to = line(2);
    if (to)
        put(32, BPF_SNPRINTF(to, 64, "%s and %c", same, 'c'));
    to = line(3);
    if (to)
        put(33, BPF_SNPRINTF(to, 64, "%pi4 %pI4", &address, &address));
    to = line(4);
    if (to)
        put(34, BPF_SNPRINTF(to, 8, "longer than %s", longer));
    bpf_printk("a packet of %d bytes, %s", skb->len, word);
    bpf_printk("four: %d %d %d %d", 1, 2, 3, 4);
    return TC_ACT_OK;
}
