/* The command that each init starts in the benchmark. `command stamp` reports the time of its first instruction and ends;
 * `command` obeys the lines on its standard input and answers on its standard output:
 *
 *   crowd COUNT session|group   COUNT orphans that live on, each in a session of its own or all in the command's group
 *   flow COUNT WAVE CAP         COUNT orphans, made as fast as can be, at most CAP of them not yet reaped
 *   burst COUNT                 COUNT living orphans that end all at once
 *   single COUNT                COUNT orphans, one after the other
 *
 * An orphan's life: a worker makes it and ends, so that the init adopts it alive; it waits at a gate; once the gate is
 * open it writes down the time and calls _exit. So every nanosecond that it stays from there on is the kernel's exit and
 * the init's reaping. It is gone when kill(pid, 0) says ESRCH, which a zombie does not: the stay that is reported is too
 * long by its own exit in the kernel and by up to one sweep over those that remain. Orphans share their worker's memory
 * (CLONE_VM): making and ending them costs little, so that the init's part weighs more. Not so a crowd's: when one of
 * thousands ends, the kernel looks through them all for a new owner of the memory that they share. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { REPORTS = 4, WAVE = 100, STACK = 16384, MOST = 200000 };

struct orphan {
	pid_t pid;
	int wave, gone;
	int64_t exited;
};

struct shared {
	_Atomic uint32_t gate; /* waves up to this one may end */
	_Atomic int alive;
	struct orphan orphans[MOST];
};

static struct shared *shared;
static char *stacks;
static int own_session;

static void report(int signum)
{
	int64_t handled = now();
	int kept = errno;
	(void)signum;
	if (write(REPORTS, &handled, sizeof handled) < 0)
		_exit(1);
	errno = kept;
}

static void report_and_end(int signum)
{
	_exit(write(REPORTS, "T", 1) < 0 || signum != SIGTERM);
}

static int live_on(void *unused)
{
	(void)unused;
	if (own_session)
		setsid();
	shared->alive++;
	while (pause())
		;
	return 0;
}

static int wait_and_end(void *data)
{
	struct orphan *self = data;
	for (uint32_t gate; (int)(gate = shared->gate) < self->wave;)
		syscall(SYS_futex, &shared->gate, FUTEX_WAIT, gate, NULL, NULL, 0);
	self->exited = now();
	return 0;
}

/* Makes orphans first to first + count - 1, at most WAVE of them; returns when the init has adopted them. */
static void make_orphans(int (*life)(void *), int sharing, int first, int count, int wave)
{
	pid_t worker = fork();
	check(worker >= 0, "fork");
	if (worker == 0) {
		for (int i = 0; i < count; i++) {
			struct orphan *orphan = &shared->orphans[first + i];
			*orphan = (struct orphan){.wave = wave};
			orphan->pid = clone(life, stacks + (i + 1) * STACK, sharing | SIGCHLD, orphan);
			check(orphan->pid > 0, "clone");
		}
		_exit(0);
	}
	int status;
	check(waitpid(worker, &status, 0) == worker && status == 0, "a worker");
}

static void open_gate(void)
{
	shared->gate++;
	syscall(SYS_futex, &shared->gate, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* One look at orphans *oldest to last - 1; moves *oldest over those gone, returns how many are not, keeps the longest stay. */
static int sweep(int *oldest, int last, int64_t *longest)
{
	int remain = 0;
	for (int i = *oldest; i < last; i++) {
		struct orphan *orphan = &shared->orphans[i];
		if (!orphan->gone && kill(orphan->pid, 0) < 0 && errno == ESRCH) {
			int64_t stay = now() - orphan->exited;
			orphan->gone = 1;
			if (stay > *longest)
				*longest = stay;
		}
		remain += !orphan->gone;
		if (orphan->gone && i == *oldest)
			++*oldest;
	}
	return remain;
}

static void crowd(int count, int session)
{
	struct sigaction ending = {.sa_handler = report_and_end}, plain = {.sa_handler = SIG_DFL};
	struct sigaction reporting = {.sa_handler = report, .sa_flags = SA_RESTART};
	struct timespec soon = {0, 1000000};
	int target = shared->alive + count;
	own_session = session;
	sigaction(SIGTERM, &ending, NULL);
	signal(SIGUSR1, SIG_IGN);
	for (int done = 0; done < count; done += WAVE)
		make_orphans(live_on, 0, 0, count - done < WAVE ? count - done : WAVE, 0);
	sigaction(SIGTERM, &plain, NULL);
	sigaction(SIGUSR1, &reporting, NULL);
	while (shared->alive < target)
		nanosleep(&soon, NULL);
	printf("%d\n", shared->alive);
}

static void flow(int count, int wave, int cap)
{
	int64_t longest = 0, begin = now();
	int oldest = 0, made = 0, few;
	for (; made < count; made += few) {
		few = count - made < wave ? count - made : wave;
		make_orphans(wait_and_end, CLONE_VM, made, few, shared->gate + 1);
		open_gate();
		while (sweep(&oldest, made + few, &longest) > cap)
			;
	}
	while (sweep(&oldest, made, &longest))
		;
	printf("%lld %lld\n", (long long)(now() - begin), (long long)longest);
}

static void burst(int count)
{
	int64_t longest = 0;
	int oldest = 0;
	for (int made = 0; made < count; made += WAVE)
		make_orphans(wait_and_end, CLONE_VM, made, count - made < WAVE ? count - made : WAVE, shared->gate + 1);
	int64_t begin = now();
	open_gate();
	while (sweep(&oldest, count, &longest))
		;
	printf("%lld %lld\n", (long long)(now() - begin), (long long)longest);
}

static void single(int count)
{
	for (int i = 0; i < count; i++) {
		int64_t stay = 0;
		int oldest = 0;
		make_orphans(wait_and_end, CLONE_VM, 0, 1, shared->gate + 1);
		open_gate();
		while (sweep(&oldest, 1, &stay))
			;
		printf("%lld ", (long long)stay);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "stamp")) {
		report(0);
		return 0;
	}
	struct sigaction reporting = {.sa_handler = report, .sa_flags = SA_RESTART};
	char line[256], kind[16];
	int a, b, c;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stacks = mmap(NULL, WAVE * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(shared != MAP_FAILED && stacks != MAP_FAILED, "mmap");
	sigaction(SIGUSR1, &reporting, NULL);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "crowd %d %15s", &a, kind) == 2)
			crowd(a, !strcmp(kind, "session"));
		else if (sscanf(line, "flow %d %d %d", &a, &b, &c) == 3 && a <= MOST && b <= WAVE)
			flow(a, b, c);
		else if (sscanf(line, "burst %d", &a) == 1 && a <= MOST)
			burst(a);
		else if (sscanf(line, "single %d", &a) == 1)
			single(a);
		else
			printf("?\n");
		fflush(stdout);
	}
	return 0;
}
