/* The waiter: what pyinit is while there is nothing to think about. It has been pyinit until execve(2), which leaves
   children, blocked and pending signals as they are, and it becomes pyinit again by another one, with a word more that
   says what has happened. It knows no policy: what to do with each signal it is told through its stdin. See rest.py. */
#include "waiter.h"

enum { SIGNAL = 0x7f, STOPS = 0x80, IF_SENT = 0x100, WAKES = 0x200 };   /* plan: deliver SIGNAL, unless it is 0 */
enum { GROUP = 1, ALL = 2, PAUSES = 4, TELLS = 8, BOUNDED = 16 };       /* TELLS: there is more to do at the end */

struct orders {
    int role;              /* of this process: to be passed on */
    int flags;             /* to whom signals go, and what ends the rest */
    int child, group;      /* the main child, 0 where there is none, and the process group that it was started in */
    int status;            /* the exit status, once there is no main child */
    int stop;              /* the stop signal that came last, as it was delivered, or 0 */
    int grace;             /* tenths of a second until SIGKILL, where pyinit cannot be woken */
    int position;          /* of the word more in argv */
    int input;             /* the descriptor of stdin, whose place the orders have taken; -1: it is closed */
    unsigned short plan[65];
    char paths[1024];      /* the interpreter, the script, and what else it takes to wake up; an empty one ends them */
};

static const struct timespec NO_TIME = {0, 0}, TENTH = {0, 100000000};

static int deliver(const struct orders *orders, int signum)
{
    int error = 0;

    if (orders->flags & ALL && getpid() == 1)
        return kill(-1, signum);
    if (orders->child <= 1)
        return 0;
    if (orders->flags & GROUP && orders->group > 1)
        error = kill(-orders->group, signum);
    if (orders->flags & GROUP && getpgid(orders->child) == orders->group)
        return error;
    return kill(orders->child, signum); /* also where it has left the group */
}

/* Become Python again. Returns where that can't be done, which would be found out too late afterwards. */
static void wake(const struct orders *orders, int argc, char **argv, int child, int ended, int status, siginfo_t *got)
{
    int numbers[] = {getpid(), orders->role, child, orders->group, ended, status, orders->stop,
                     got ? got->si_signo : 0, got ? got->si_code : 0, got ? got->si_pid : 0};
    unsigned int count = sizeof numbers / sizeof *numbers;
    const char *path = orders->paths, *script = path;
    char word[16 * 9], *at = word + sizeof word, *words[argc + 2];
    siginfo_t info;

    for (int fd; *path; close(fd)) {
        if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
            return;
        while (*path++);
        script = script == orders->paths ? path : script;
    }
    for (*--at = 0; count--; *--at = count ? ',' : '=') /* in hexadecimal, from behind */
        for (int shift = 0; shift < 32; shift += 4)
            *--at = "0123456789abcdef"[numbers[count] >> shift & 15];
    for (int i = 6; i >= 0; i--)
        *--at = "--woken"[i];
    for (int i = 0; i <= argc; i++)
        words[i + (i >= orders->position)] = argv[i];
    words[orders->position - 1] = (char *)script;
    words[orders->position] = at;
    /* CPython ignores these two at its start, with which the kernel throws away those that are pending. */
    for (int early; (early = wait_for_signal(1UL << (SIGPIPE - 1) | 1UL << (SIGXFSZ - 1), &info, &NO_TIME)) > 0;)
        if (orders->plan[early])
            deliver(orders, orders->plan[early] & SIGNAL);
    execve(orders->paths, words, argv + argc + 1); /* behind argv the kernel puts the environment */
}

/* Reap what has ended; 0: others are left, -ECHILD: nobody. `ended` is the main child's wait status, where it has. */
static int reap(struct orders *orders, int *ended)
{
    int pid, status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == orders->child && !WIFSTOPPED(status)) { /* a stop is told of where it is traced */
            orders->child = 0;
            orders->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            *ended = status;
        }
    return pid;
}

/* End what is left, and then itself, without Python: SIGTERM, the grace, SIGKILL. */
static void finish(struct orders *orders)
{
    int all = getpid() == 1 ? -1 : -orders->group, status;

    if (getpid() != 1 && orders->group <= 1)
        _exit(orders->status); /* nobody is known */
    for (int tenths = 0; reap(orders, &status) != -ECHILD && tenths < orders->grace + 20; tenths++) {
        /* The group is nobody else's as long as a child is in it. */
        if (all == -1 || waitid(P_PGID, -all, 0, WEXITED | WNOHANG | WNOWAIT) >= 0) {
            kill(all, tenths == 0 ? SIGTERM : tenths < orders->grace ? SIGCONT : SIGKILL);
        }
        nanosleep(&TENTH, 0);
    }
    _exit(orders->status);
}

static void act_on(struct orders *orders, int argc, char **argv, siginfo_t *info)
{
    int plan = orders->plan[info->si_signo], signum = plan & SIGNAL;

    if (plan & IF_SENT && info->si_code > 0)
        return;
    if (plan & WAKES || (signum && deliver(orders, signum) == -EPERM)) {
        wake(orders, argc, argv, orders->child, 0, orders->status, info);
        if (plan & STOPS && (!orders->child || orders->flags & BOUNDED))
            finish(orders);
        if (plan & WAKES)
            deliver(orders, signum);
    }
    if (plan & STOPS)
        orders->stop = signum;
}

int main(int argc, char **argv)
{
    struct orders orders;
    siginfo_t info;
    int left, ended;

    for (int tries = 0; read(0, &orders, sizeof orders) <= 0; tries++)
        if (tries == 9)
            _exit(125); /* there is nothing that it could do without */
    close(0);
    if (orders.input >= 0 && dup2(orders.input, 0) == 0)
        close(orders.input);
    prctl(PR_SET_NAME, "pyinit");
    for (;;) {
        int child = orders.child;
        ended = -1;
        left = reap(&orders, &ended);
        if (ended >= 0) {
            if (left != -ECHILD || orders.flags & TELLS)
                wake(&orders, argc, argv, child, 1, ended, 0);
            finish(&orders);
        }
        if (left == -ECHILD && (orders.child || !(orders.flags & PAUSES)))
            _exit(orders.child ? 125 : orders.status); /* the kernel has reaped: somebody has it ignore SIGCHLD */
        int got = wait_for_signal(ALL_SIGNALS, &info, left < 0 && left != -ECHILD ? &TENTH : 0);
        if (got > 0)
            act_on(&orders, argc, argv, &info);
        else if (got != -EAGAIN && got != -EINTR)
            nanosleep(&TENTH, 0); /* a filter denies it */
    }
}
