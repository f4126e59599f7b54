/* Programs whose context is given as bytes. */
#include "exercise.h"
#include <linux/ptrace.h>

struct arguments {
    __u64 a;
    __u64 b;
    __u64 sum;
};

SEC("syscall")
int add_up(struct arguments *arguments)
{
    arguments->sum = arguments->a + arguments->b;
    return arguments->a > arguments->b;
}

SEC("raw_tp/sys_enter")
int raw(struct bpf_raw_tracepoint_args *ctx)
{
    put(0, ctx->args[0]);
    put(1, ctx->args[1]);
    return 0;
}

struct event {
    __u64 common;
    __s64 id;
    __u64 arguments[6];
};

SEC("tracepoint/raw_syscalls/sys_enter")
int event(struct event *event)
{
    put(2, event->id);
    put(3, event->arguments[1]);
    return 0;
}

SEC("kprobe/do_nanosleep")
int probe(struct pt_regs *registers)
{
    put(4, *((__u64 *)registers + 14));
    return 0;
}
