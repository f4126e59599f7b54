/* Two functions at the same place in two sections, and one in the program's own. */
#include "prelude.h"

volatile int zero;

__noinline int f1(int x)
{
	return x + 100 + zero;
}

__attribute__((section(".text.foo"))) __noinline int f2(int x)
{
	return x + 200 + zero;
}

static __noinline int in_this_section(int x);

SEC("xdp")
int program(void *ctx)
{
	return in_this_section(f2(1) + f1(2));
}

SEC("xdp")
static __noinline int in_this_section(int x)
{
	return x + 300 + zero;
}
