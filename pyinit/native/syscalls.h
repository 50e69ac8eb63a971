/* The system calls of pyinit.c by their POSIX names, its readers of /proc, and its parts of a C library.
   Each call returns what the kernel returns, which is -errno if it fails. On x86-64 and arm64 the program uses no C
   library (-DFREESTANDING). On other machines it uses one. See syscall(2). */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long sigmask; /* signal 1 is bit 0 */
#define ALL_SIGNALS (~0ULL)
#define SIGNAL_BIT(signum) (1ULL << ((signum) - 1))

#define CALL(number, a, b, c, d, e) call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

#ifndef FREESTANDING

static long result(long returned)
{
    return returned < 0 ? -errno : returned;
}

static sigset_t set_of(sigmask mask)
{
    sigset_t set;
    sigemptyset(&set);
    for (int signum = 1; signum <= 64; signum++)
        if (mask & SIGNAL_BIT(signum))
            sigaddset(&set, signum); /* EINVAL: the C library keeps two for itself */
    return set;
}

static int wait_for_signal(sigmask mask, siginfo_t *info, const struct timespec *timeout)
{
    sigset_t set = set_of(mask);
    return result(sigtimedwait(&set, info, timeout));
}

static int set_mask(sigmask mask, sigmask *old)
{
    sigset_t set = set_of(mask), before;
    int error = result(sigprocmask(SIG_SETMASK, &set, &before));
    for (int signum = 1; old && signum <= 64; signum++)
        if (sigismember(&before, signum) == 1)
            *old |= SIGNAL_BIT(signum);
    return error;
}

static int is_ignored(int signum)
{
    struct sigaction action;
    return sigaction(signum, 0, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void set_disposition(int signum, void (*handler)(int))
{
    signal(signum, handler);
}

static long call(long number, long a, long b, long c, long d, long e)
{
    return result(syscall(number, a, b, c, d, e));
}

#define clock_gettime(clock, time) result(clock_gettime(clock, time))
#define fork() result(fork())
#define nanosleep(time, left) result(nanosleep(time, left))
#define poll(fds, count, milliseconds) result(poll(fds, count, milliseconds))
#define waitpid(pid, status, options) result(waitpid(pid, status, options))

#else

static long call(long number, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__) && defined(__LP64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long returned;
    __asm__ volatile("syscall"
                     : "=a"(returned)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return returned;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "no system calls for this machine: build without FREESTANDING"
#endif
}

#define clock_gettime(clock, time) CALL(__NR_clock_gettime, clock, time, 0, 0, 0)
#define fork() CALL(__NR_clone, SIGCHLD, 0, 0, 0, 0)
#define getpid() CALL(__NR_getpid, 0, 0, 0, 0, 0)
#define nanosleep(time, left) CALL(__NR_nanosleep, time, left, 0, 0, 0)
#define waitpid(pid, status, options) CALL(__NR_wait4, pid, status, options, 0, 0)

/* The struct that rt_sigaction(2) takes. The C library's struct sigaction has another layout. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    sigmask mask;
};

void _exit(int status)
{
    for (;;)
        CALL(__NR_exit_group, status, 0, 0, 0, 0);
}

static int wait_for_signal(sigmask mask, siginfo_t *info, const struct timespec *timeout)
{
    return CALL(__NR_rt_sigtimedwait, &mask, info, timeout, sizeof mask, 0);
}

static int set_mask(sigmask mask, sigmask *old)
{
    return CALL(__NR_rt_sigprocmask, SIG_SETMASK, &mask, old, sizeof mask, 0);
}

static int is_ignored(int signum)
{
    struct kernel_sigaction action;
    return CALL(__NR_rt_sigaction, signum, 0, &action, sizeof action.mask, 0) == 0 && action.handler == SIG_IGN;
}

static void set_disposition(int signum, void (*handler)(int))
{
    struct kernel_sigaction action = {.handler = handler};
    CALL(__NR_rt_sigaction, signum, &action, 0, sizeof action.mask, 0);
}

#define poll(fds, count, milliseconds) ppoll_now(fds, count)
static long ppoll_now(struct pollfd *fds, unsigned long count)
{
    struct timespec now = {0, 0};
    return CALL(__NR_ppoll, fds, count, &now, 0, 0);
}

int main(int argc, char **argv);

void begin(long *stack) __attribute__((used, noreturn)); /* -flto does not see the caller */

/* The kernel leaves argc and argv on the stack. */
void begin(long *stack)
{
    _exit(main((int)*stack, (char **)(stack + 1)));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#else
__asm__(".globl _start\n_start: mov x29, 0\n mov x30, 0\n mov x0, sp\n bl begin\n");
#endif

#endif

#define chdir(path) CALL(__NR_chdir, path, 0, 0, 0, 0)
#define close(fd) CALL(__NR_close, fd, 0, 0, 0, 0)
#define dup2(from, to) CALL(__NR_dup3, from, to, 0, 0, 0)
#define execve(path, argv, envp) CALL(__NR_execve, path, argv, envp, 0, 0)
#define getdents64(fd, buffer, size) CALL(__NR_getdents64, fd, buffer, size, 0, 0)
#define getpgid(pid) CALL(__NR_getpgid, pid, 0, 0, 0, 0)
#define getsid(pid) CALL(__NR_getsid, pid, 0, 0, 0, 0)
#define ioctl(fd, request, argument) CALL(__NR_ioctl, fd, request, argument, 0, 0)
#define kill(pid, signum) CALL(__NR_kill, pid, signum, 0, 0, 0)
#define open(path, flags) CALL(__NR_openat, AT_FDCWD, path, flags, 0, 0)
#define pipe2(ends, flags) CALL(__NR_pipe2, ends, flags, 0, 0, 0)
#define prctl(option, argument) CALL(__NR_prctl, option, argument, 0, 0, 0)
#define read(fd, buffer, size) CALL(__NR_read, fd, buffer, size, 0, 0)
#define readlinkat(fd, path, buffer, size) CALL(__NR_readlinkat, fd, path, buffer, size, 0)
#define setpgid(pid, group) CALL(__NR_setpgid, pid, group, 0, 0, 0)
#define waitid(type, id, info, options) CALL(__NR_waitid, type, id, info, options, 0)
#define write(fd, buffer, size) CALL(__NR_write, fd, buffer, size, 0, 0)

/* ---- Text ---- */

/* Return the time in milliseconds. */
static long milliseconds(int clock)
{
    struct timespec time = {0, 0};
    clock_gettime(clock, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Return the time in milliseconds, by CLOCK_MONOTONIC. It is never 0. */
static long now(void)
{
    return milliseconds(CLOCK_MONOTONIC) + 1;
}

static int begins(const char *text, const char *with)
{
    while (*with)
        if (*text++ != *with++)
            return 0;
    return 1;
}

/* Append text to the string that ends at `to`, and return its new end. put_number() appends a number. */
static char *put(char *to, const char *text)
{
    while ((*to = *text++))
        to++;
    return to;
}

static char *put_number(char *to, sigmask number)
{
    if (number > 9)
        to = put_number(to, number / 10);
    *to++ = '0' + number % 10;
    *to = 0;
    return to;
}

/* Write three texts as one line. If `fd` cannot take it at once, the line is lost, because nothing may block PID 1. */
static void write_line(int fd, const char *begin, const char *middle, const char *rest)
{
    struct pollfd out = {fd, POLLOUT, 0};
    char line[128], *end = put(put(put(put(line, begin), middle), rest), "\n");
    siginfo_t info;
    struct timespec none = {0, 0};

    if (poll(&out, 1, 0) == 1 && out.revents & POLLOUT && write(fd, line, end - line) < 0)
        wait_for_signal(SIGNAL_BIT(SIGPIPE) | SIGNAL_BIT(SIGXFSZ), &info, &none); /* drop the kernel's signal */
}

static void say(const char *what)
{
    write_line(2, "pyinit: ", what, "");
}

/* ---- /proc ---- */

/* Return whether /proc can be read, and belongs to this PID namespace. */
static int has_proc(void)
{
    char text[20];
    int pid = 0, size = readlinkat(AT_FDCWD, "/proc/self", text, sizeof text);

    for (int i = 0; i < size; i++)
        pid = pid * 10 + text[i] - '0';
    return pid == (int)getpid();
}

/* Call `act` for each child until it returns something true, and return that. Return -1 if the children cannot be
   listed. */
static int each_child(int (*act)(int))
{
    char text[512];
    int pid = 0, stopped = 0, size, fd;

    if (!has_proc() || (fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC)) < 0)
        return -1;
    while (!stopped && (size = read(fd, text, sizeof text)) > 0)
        for (int i = 0; i < size && !stopped; i++)
            if (text[i] != ' ') {
                pid = pid * 10 + text[i] - '0';
            } else {
                stopped = act(pid);
                pid = 0;
            }
    close(fd);
    return size < 0 ? -1 : stopped;
}

/* Return the mask after `name` in the text of /proc/PID/status; see proc_pid_status(5). */
static sigmask mask_in(const char *text, const char *name)
{
    sigmask mask = 0;

    while (*text && !begins(text, name))
        text++;
    for (text += *text ? 9 : 0; *text > ' '; text++)
        mask = mask << 4 | (*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return mask;
}

/* Return the PID of the newest process; see proc_loadavg(5). */
static int newest_pid(void)
{
    char text[64];
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC), size = fd < 0 ? 0 : read(fd, text, sizeof text), pid = 0;

    for (int i = 0; i < size; i++)
        pid = text[i] == ' ' ? 0 : text[i] >= '0' && text[i] <= '9' ? pid * 10 + text[i] - '0' : pid;
    if (fd >= 0)
        close(fd);
    return pid;
}

/* Return whether a process ignores a signal, by SIG_IGN or because that is the default; see signal(7). */
static int ignores(int pid, int signum)
{
    static const sigmask by_default =
        SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH);
    char text[4096];
    int fd, size;

    put(put_number(put(text, "/proc/"), pid), "/status");
    if (!has_proc() || (fd = open(text, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    return (mask_in(text, "\nSigIgn:\t") | (by_default & ~mask_in(text, "\nSigCgt:\t"))) & SIGNAL_BIT(signum) ? 1 : 0;
}

enum { NONE, OTHERS, FILES };

/* Return which descriptors above 2 are open. FILES: one is open for a file, which may have a POSIX lock, or they cannot
   be listed. If `keep` is not 0, close all except these two instead. */
static int other_descriptors(const int *keep)
{
    char entries[1024] __attribute__((aligned(8))), first;
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), size, found = dir < 0 ? FILES : NONE;

    while (dir >= 0 && (size = getdents64(dir, entries, sizeof entries)) > 0)
        for (int at = 0; at < size; at += *(unsigned short *)(entries + at + 16)) { /* struct linux_dirent64 */
            char *name = entries + at + 19;
            int fd = 0;
            for (char *digit = name; *digit >= '0' && *digit <= '9'; digit++)
                fd = fd * 10 + *digit - '0';
            if (fd <= 2 || fd == dir || (keep && (fd == keep[0] || fd == keep[1])))
                continue;
            if (keep)
                close(fd);
            else if (readlinkat(dir, name, &first, 1) == 1 && first == '/')
                found = FILES;
            else if (found == NONE)
                found = OTHERS;
        }
    if (dir >= 0)
        close(dir);
    return found;
}

/* Write the path of this program, with symbolic links resolved. Return its end, or 0 if it does not fit in `size`. */
static char *put_own_path(char *to, int size, char **environment)
{
    unsigned long *auxiliary = (unsigned long *)environment; /* see getauxval(3) */
    const char *name = "";
    int got = readlinkat(AT_FDCWD, "/proc/self/exe", to, size);

    if (got > 0)
        return got < size ? to + got : 0;
    while (*auxiliary++);
    for (; *auxiliary; auxiliary += 2)
        if (*auxiliary == AT_EXECFN) /* the path that execve(2) was given */
            name = (const char *)auxiliary[1];
    for (got = 0; name[got]; got++)
        if (got == size)
            return 0;
    return put(to, name);
}

/* Replace a path of at most `size` characters by the path to which its symbolic links lead. */
static void follow_links(char *path, int size)
{
    char link[256], *name;

    for (int got, links = 0; links < 9 && (got = readlinkat(AT_FDCWD, path, link, sizeof link)) > 0; links++) {
        if (got == sizeof link)
            return;
        link[got] = 0;
        name = path;
        for (char *c = path; *c && link[0] != '/'; c++)
            if (*c == '/')
                name = c + 1;
        if (name - path + got >= size)
            return;
        put(name, link);
    }
}

/* Return the interpreter that pip has written into the first line of a script, with symbolic links resolved. They lead
   out of a venv, whose settings take CPython 2 ms to read. Return "" if the kernel has to find the interpreter, such as
   by /bin/sh, which pip uses for a long path, or by env(1). */
static char *interpreter_of(const char *script, char *line, int size)
{
    int fd = open(script, O_RDONLY | O_CLOEXEC), got = fd < 0 ? 0 : read(fd, line, size - 1);
    char *end = line, *name = line;

    line[got > 0 ? got : 0] = 0;
    if (fd >= 0)
        close(fd);
    for (; *end && *end != ' ' && *end != '\n'; end++)
        if (*end == '/')
            name = end + 1;
    *end = 0;
    if (!begins(line, "#!/") || !(begins(name, "python") || begins(name, "pypy")))
        return end;
    follow_links(line + 2, size - 3);
    return line + 2;
}

/* Execute a command as execvpe(3) does, except that /bin/sh does not run a script without #!. Return if that fails. */
static void exec_in_path(char **argv, char **environment)
{
    const char *path = "/bin:/usr/bin", *name = *argv;
    char file[4096], *at, *const last = file + sizeof file - 1;
    int error, has_slash = 0;

    for (const char *c = name; *c; c++)
        has_slash |= *c == '/';
    for (char **variable = environment; *variable; variable++)
        if (begins(*variable, "PATH=")) {
            path = *variable + 5;
            break;
        }
    for (path = has_slash ? "" : path;; path++) {
        for (at = file; *path && *path != ':'; path++)
            if (at < last)
                *at++ = *path;
        if (at > file && at < last)
            *at++ = '/';
        for (const char *c = name; *c && at < last; c++)
            *at++ = *c;
        *at = 0;
        error = has_slash ? execve(name, argv, environment) : at < last ? execve(file, argv, environment) : -ENOENT;
        if (!*path || (error != -ENOENT && error != -ENOTDIR && error != -EACCES && error != -ESTALE &&
                       error != -ENODEV && error != -ETIMEDOUT))
            return;
    }
}
