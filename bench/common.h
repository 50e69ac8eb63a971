/* What cell.c and command.c share: the clock, in ns, and the end of a program that cannot go on. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "benchmark: %s: %s\n", what, strerror(errno));
	_exit(125);
}
