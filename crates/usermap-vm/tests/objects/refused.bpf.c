/* All that cannot be had, one of it in each program. */
#include "prelude.h"

extern int CONFIG_MISSING __kconfig;
extern int kernel_variable __ksym;
extern int kernel_function(int) __ksym;
extern int nowhere(int);

int well(void *ctx);

static const char *const names[2] = { "one", "two" };

SEC("xdp")
int well(void *ctx)
{
	return 2;
}

SEC("xdp")
int asks_for_kernel_variable(void *ctx)
{
	return *(int *)&kernel_variable;
}

SEC("xdp")
int calls_kernel_function(void *ctx)
{
	return kernel_function(1);
}

SEC("xdp")
int calls_nothing(void *ctx)
{
	return nowhere(1);
}

SEC("xdp")
int needs_addresses_in_data(struct xdp_md *ctx)
{
	return *names[ctx->data & 1];
}

SEC("lsm/file_open")
int of_another_kind(void *ctx)
{
	return well(ctx);
}

SEC("xdp")
int asks_for_configuration(void *ctx)
{
	return CONFIG_MISSING;
}
