/* Fields by name, wherever they are in the type that the program meets: CO-RE. Where nothing else
 * is known, that is the object's own type. */
#include "exercise.h"
#include <bpf/bpf_core_read.h>

struct task_struct {
    int pid;
    int tgid;
} __attribute__((preserve_access_index));

struct nowhere {
    int number;
    char text[12];
    struct {
        __u8 low : 3;
        __u8 high : 5;
    } bits;
} __attribute__((preserve_access_index));

struct nowhere nowhere = { .number = 3, .text = "text" };

SEC("raw_tp/sys_enter")
int relocations(void *ctx)
{
    put(0, bpf_core_field_exists(struct task_struct, pid));
    put(1, bpf_core_field_size(struct task_struct, pid));
    put(2, bpf_core_type_exists(struct task_struct));
    return 0;
}
