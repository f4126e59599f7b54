/* What the kernel was built with, and its version: externs that the loader gives values to. */
#include "exercise.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_JIT __kconfig __weak;
extern int CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_IPV6 __kconfig __weak;

SEC("tc")
int kconfig(struct __sk_buff *skb)
{
    put(0, LINUX_KERNEL_VERSION);
    put(1, CONFIG_BPF_JIT);
    put(2, CONFIG_HZ);
    put(3, CONFIG_IPV6);
    return TC_ACT_OK;
}
