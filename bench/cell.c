/* cell CONTROL ROLE PROGRAM [ARGUMENT...]: puts PROGRAM where an init lives and times it from there.
 *
 * ROLE "pid1": PID 1 of a new PID namespace. "subreaper": a child of PID 1 in one. "child": no namespace at all.
 * The namespace and its /proc are ready before the clock starts, and torn down after it stops. The driver, the process
 * that talks to Python on descriptor CONTROL, is PROGRAM's parent in each role. REPORTS is a pipe from the command to the driver:
 * PROGRAM inherits it, as it does standard input and output. When the driver or its parent dies, all in the cell dies. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { REPORTS = 4, PATIENCE_MS = 20000 };

static int64_t *started; /* shared with PROGRAM's process until it calls exec */
static int control, reports;
static FILE *answers;

static void write_to(pid_t pid, const char *name, const char *text)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
	close(fd);
}

static void map_user(pid_t pid)
{
	char map[64];
	write_to(pid, "setgroups", "deny");
	snprintf(map, sizeof map, "0 %d 1", geteuid());
	write_to(pid, "uid_map", map);
	snprintf(map, sizeof map, "0 %d 1", getegid());
	write_to(pid, "gid_map", map);
}

/* Forks into new PID and mount namespaces with a /proc of their own. Returns 0 in the child, once all is ready. */
static pid_t fork_in_namespace(void)
{
	int gate[2], user = geteuid() ? CLONE_NEWUSER : 0;
	char byte = 0, path[64];
	check(pipe2(gate, O_CLOEXEC) == 0, "pipe");
	pid_t pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | user | SIGCHLD, 0, 0, 0, 0);
	check(pid >= 0, "a new PID namespace");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(125);
		check(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
		check(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "mount /proc");
		return 0;
	}
	if (user)
		map_user(pid);
	/* Held open until we exit: else the end of PROGRAM would include the unmounting of everything, which is slow. */
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
	check(open(path, O_RDONLY | O_CLOEXEC) >= 0, path);
	check(write(gate[1], &byte, 1) == 1, "start");
	close(gate[0]);
	close(gate[1]);
	return pid;
}

static void become(char **program)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*started = now();
	execvp(program[0], program);
	check(0, program[0]);
}

/* Returns, in the driver alone, the PID of PROGRAM as the driver sees it. */
static pid_t place(const char *role, char **program)
{
	pid_t pid;
	if (!strcmp(role, "pid1")) {
		pid = fork_in_namespace();
	} else {
		if (!strcmp(role, "subreaper") && (pid = fork_in_namespace()) != 0) {
			close(REPORTS);
			close(reports);
			close(control);
			close(STDIN_FILENO);
			close(STDOUT_FILENO);
			waitpid(pid, NULL, 0);
			_exit(0);
		}
		pid = fork();
		check(pid >= 0, "fork");
	}
	if (pid == 0)
		become(program);
	return pid;
}

/* kill(2), then the command's answer with the time of its handler: up to `count` times, for `limit_ms` at most. `gap_us`
 * lies between two of them, so that each finds the init at rest. */
static void forward(pid_t pid, int count, int gap_us, int limit_ms)
{
	int64_t handled, sent, end = now() + limit_ms * 1000000LL;
	struct pollfd ready = {.fd = reports, .events = POLLIN};
	struct timespec gap = {0, gap_us * 1000L};
	for (int i = 0; i < count && (i == 0 || now() < end); i++) {
		nanosleep(&gap, NULL);
		sent = now();
		check(kill(pid, SIGUSR1) == 0, "kill");
		if (poll(&ready, 1, PATIENCE_MS) != 1 || read(reports, &handled, sizeof handled) != sizeof handled) {
			fprintf(answers, "lost");
			break;
		}
		fprintf(answers, "%lld ", (long long)(handled - sent));
	}
	fprintf(answers, "\n");
}

static int processes_left(const char *role)
{
	int count = 0;
	DIR *proc = strcmp(role, "subreaper") ? NULL : opendir("/proc");
	for (struct dirent *entry; proc && (entry = readdir(proc));)
		count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	return count ? count - 1 : 0;
}

/* Waits for PROGRAM; `signum` other than 0 is sent to it first. Answers: the time it started or was sent the signal, the
 * time it ended, its wait status, the bytes reported, the first 8 of them as a number, how many processes it left. */
static void finish(pid_t pid, int signum, const char *role)
{
	int64_t begin = now(), end, first = 0;
	int status = 0, bytes = 0;
	check(!signum || kill(pid, signum) == 0, "kill");
	waitpid(pid, &status, 0);
	end = now();
	begin = signum ? begin : *started;
	int left = processes_left(role);
	ioctl(reports, FIONREAD, &bytes);
	if (bytes >= 8 && read(reports, &first, 8) != 8)
		first = 0;
	fprintf(answers, "%lld %lld %d %d %lld %d\n", (long long)begin, (long long)end, status, bytes, (long long)first, left);
}

/* SIGTERM `after_us` after PROGRAM has been executed. Answers whether it has ended within `limit_ms`. */
static void early(pid_t pid, int executed, int after_us, int limit_ms)
{
	char byte;
	int64_t end;
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	check(pidfd >= 0 && read(executed, &byte, 1) == 0, "exec");
	for (end = now() + after_us * 1000LL; now() < end;)
		;
	check(kill(pid, SIGTERM) == 0, "kill");
	fprintf(answers, "%d\n", poll(&ended, 1, limit_ms) == 1);
}

/* The numbers below 10 stay free for what PROGRAM inherits: standard streams and REPORTS. */
static int above(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	check(moved >= 0, "dup");
	close(fd);
	return moved;
}

int main(int argc, char **argv)
{
	int pipes[2], a, b, c;
	char line[256];
	if (argc < 4)
		return 125;
	const char *role = argv[2];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	started = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(started != MAP_FAILED, "mmap");
	control = above(atoi(argv[1]));
	check(pipe2(pipes, O_CLOEXEC) == 0, "pipe");
	reports = above(pipes[0]);
	int writing = above(pipes[1]);
	check(dup2(writing, REPORTS) == REPORTS, "dup2");
	close(writing);
	check(pipe2(pipes, O_CLOEXEC) == 0, "pipe");
	int executed = above(pipes[0]), executing = above(pipes[1]);
	pid_t pid = place(role, argv + 3);
	close(executing);
	close(REPORTS);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	answers = fdopen(dup(control), "w");
	FILE *orders = fdopen(control, "r");
	while (fgets(line, sizeof line, orders)) {
		if (sscanf(line, "forward %d %d %d", &a, &b, &c) == 3) {
			forward(pid, a, b, c);
		} else if (sscanf(line, "early %d %d", &a, &b) == 2) {
			early(pid, executed, a, b);
		} else if (sscanf(line, "finish %d", &a) == 1) {
			finish(pid, a, role);
			pid = 0;
		}
		fflush(answers);
	}
	if (pid && kill(pid, SIGKILL) == 0)
		waitpid(pid, NULL, 0);
	return 0;
}
