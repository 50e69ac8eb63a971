/* pyinit, the program. In the plain case it is PID 1 from its first instruction to its last. Its three parts, in the
   order in which they run:

   The entrance  starts the command of `pyinit [--] command...`. If there is an option or an error, if needs_python()
                 says so, or if a file is open, the entrance becomes Python by execve(2). It has changed nothing then.
   The waiter    forwards signals, reaps, and keeps the command's status. It never becomes Python. Python becomes the
                 waiter (-DWAITER=1) when it has read options and started the command.
   The adviser   is Python, a child of the waiter. It decides which processes a stop reaches, in which order, and until
                 when. If the adviser fails, the waiter ends the leftover processes itself, in finish().

   struct orders says what to do with each signal. */
#include "shared.h"
#include "syscalls.h"

#ifndef WAITER
#define WAITER 0
#endif

enum { MOST_PIDS = 1 << 22 }; /* PID_MAX_LIMIT of the kernel */
enum { SOON = 50, LATE = 200, AGAIN = 1000, CANNOT_DIE = 2000, OVERDUE = 3000, PATIENCE = 10000 }; /* milliseconds */

/* Python's orders for the waiter. native/__init__.py writes them, with the same types in the same order. */
static struct orders {
    int child;                   /* the command's process, which leads the process group of the same number; 0: none */
    int pid_one;                 /* 0: without -n. 1: this process is PID 1 of the namespace, and the command is the
                                    launcher's child. Otherwise this is the launcher, and that is the PID of PID 1,
                                    which gets the signals, and ends last */
    int flags;                   /* PAUSES: there is no command; wait until a stop signal comes.
                                    BOUNDED: a stop signal sets a deadline (-k), at which the adviser kills everything.
                                    LEADS: this process leads a terminal's session, as with docker run -t; the command
                                    is in the foreground, and nobody but this process could continue it */
    int grace;                   /* tenths of a second until SIGKILL, if there is no adviser */
    int drain;                   /* tenths of a second that leftover processes have at most (-t), or -1 */
    int status_fd;               /* of --json-status-fd, or -1 */
    int input;                   /* the descriptor of stdin: the orders come as descriptor 0; -1: stdin is closed */
    unsigned short signals[SIGNALS]; /* by its number, what to do with a signal: SIGNAL and bits; see pyinit/base */
    unsigned char statuses[256]; /* the exit status for each status of the command */
    char paths[MOST_PATHS];      /* the interpreter, or "" if the script's first line names it; then the script */
} orders;

static int group;                   /* the process group that the command was started in */
static int status;                  /* the command's, in a shell's terms, once it has ended */
static int stop, is_deaf;           /* the last stop signal that came in, or 0; whether the command ignored it */
static long signalled_at;           /* milliseconds since boot; when the command's group got the stop signal, or 0 */
static int newest;                  /* the newest process at that time */
static sigmask asked, ignored;      /* the stop signals that have been sent; those that the command ignored then */
static int adviser, advice = -1;    /* its PID, or 0; the wait status of one that has ended, or -1 */
/* Times of now(): start an adviser, stop trying, the deadlines of -k and -t; 0: never. */
static long due, given_up, kill_at, drain_at;
static int argc;                    /* as in main() */
static char **words, **environment; /* argv and envp */
static const struct timespec TENTH = {0, 100000000};

/* Become Python. Return if that fails. The command line gets one word more, about the process `pid`, which
   native/__init__.py reads. If `pid` is 0, there is no such word. */
static void become_python(int pid, sigmask mask, int child)
{
    sigmask numbers[] = {pid,  mask,    is_ignored(SIGPIPE), is_ignored(SIGXFSZ), child, group,
                         stop, is_deaf, signalled_at,        newest,              kill_at};
    char word[300], *end = put(word, WORD), line[1024], *python = orders.paths, *script = python;
    const char *argv[argc + 5];
    int count = 0;

    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        end = put(put_number(end, numbers[i]), ",");
    *--end = 0;
    while (*script++);
    if (!*python)
        python = interpreter_of(script, line, sizeof line);
    if (*python) {
        argv[count++] = python;
        argv[count++] = FLAGS;
    }
    argv[count++] = script;
    if (pid)
        argv[count++] = word;
    for (int i = 1; i < argc; i++)
        argv[count++] = words[i];
    argv[count] = 0;
    execve(*python ? python : script, (char **)argv, environment);
}

/* Start the adviser in a process group of its own. Return its PID, or 0 if fork(2) fails. The kernel kills it when the
   waiter dies, and the OOM killer kills it before any other process. */
static int start_adviser(void)
{
    int fd, own = getpid(), pid = fork();

    due = 0;
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if ((fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)) >= 0) {
            write(fd, "1000", 4);
            close(fd);
        }
        become_python(own, 0, orders.child);
        _exit(OWN_ERROR);
    }
    return adviser = pid > 0 ? pid : 0;
}

/* Write {"name": value} to --json-status-fd. */
static void report(const char *name, const char *value)
{
    char begin[32];

    put(put(put(begin, "{\""), name), "\": ");
    if (orders.status_fd >= 0)
        write_line(orders.status_fd, begin, value, "}");
}

/* Put a process group into the terminal's foreground, unless it is 0. Return the group that was there, or a negative
   errno. All signals are blocked, so SIGTTOU does not stop a process in the background; see tcsetpgrp(3). */
static int foreground(int to)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC), error, was = 0;

    if (fd < 0)
        return fd;
    error = ioctl(fd, TIOCGPGRP, &was);
    if (error == 0 && to)
        error = ioctl(fd, TIOCSPGRP, &to);
    close(fd);
    return error < 0 ? error : was;
}

/* Continue the process group of a child that `signum` has stopped, if nobody else could. If the child wants the
   terminal, its group gets the foreground first, or else it would stop again. Leftover processes get it too. Some
   programs stop themselves by SIGSTOP for Ctrl-Z, such as su(1). Any other signal has stopped a traced child. */
static void child_stopped(int pid, int signum)
{
    int wants_terminal = signum == SIGTTIN || signum == SIGTTOU, its = getpgid(pid);

    if (!(orders.flags & LEADS) || its <= 0 || (pid != orders.child && (orders.child || !wants_terminal)))
        return;
    if (wants_terminal ? foreground(its) >= 0 : signum == SIGTSTP || signum == SIGSTOP)
        kill(-its, SIGCONT);
}

/* Reap the children that have ended. Return 0 if others are left, and -ECHILD if there are none. */
static int reap(void)
{
    int pid, ended, deaths = 0;
    char number[4];

    while ((pid = waitpid(-1, &ended, WNOHANG | (orders.flags & LEADS ? WUNTRACED : 0))) > 0) {
        if (WIFSTOPPED(ended)) { /* also without WUNTRACED, if this child is traced */
            child_stopped(pid, WSTOPSIG(ended));
            continue;
        }
        if (pid == adviser) {
            adviser = 0;
            advice = ended;
            continue;
        }
        deaths++;
        if (pid == orders.child) {
            orders.child = 0;
            status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
            put_number(number, orders.statuses[status]);
            report("exit-code", number);
            if (orders.pid_one > 1 && kill(orders.pid_one, SIGCHLD) < 0) /* PID 1 cannot see this death itself */
                _exit(orders.statuses[status]);
        } else if (pid == orders.pid_one) {
            if (!ended && !orders.child)
                _exit(orders.statuses[status]);
            say("PID 1 of the namespace has died, and everything in it");
            _exit(128 + SIGKILL);
        }
    }
    if (adviser && deaths)
        kill(adviser, SIGCHLD);
    if (orders.flags & LEADS && deaths && !orders.child && pid == 0)
        foreground(getpid()); /* in a drain Ctrl-C comes to this process */
    return pid;
}

static int is_leftover(int pid)
{
    return pid != adviser;
}

static int sending;                          /* the signal */
static unsigned char has_got[MOST_PIDS / 8]; /* a bit for each PID: a child that has got the stop signal */

static int send_to_child(int pid)
{
    int is_new = !(has_got[pid / 8] >> pid % 8 & 1);

    has_got[pid / 8] |= 1 << pid % 8;
    if (is_new || sending == SIGKILL)
        kill(pid, sending);
    if (is_new)
        kill(pid, SIGCONT);
    return 0;
}

/* Send a signal to the leftover processes. Return 0 if none is known. As PID 1, send it to all processes, otherwise to
   the children, or to the command's group if the children cannot be listed. No process gets a stop signal from here
   twice. */
static int send(int signum, int is_first)
{
    int all = getpid() == 1 ? -1 : -group;

    sending = signum;
    if (all != -1 && each_child(send_to_child) == 0)
        return 1;
    if (all != -1 && (!group || waitid(P_PGID, group, 0, WEXITED | WNOHANG | WNOWAIT) < 0)) /* may be others' now */
        return 0;
    if (is_first || signum == SIGKILL) {
        kill(all, signum);
        kill(all, SIGCONT);
    }
    return 1;
}

/* Return the earlier of the deadlines of -k and -t, or 0 if there is none. */
static long deadline(void)
{
    return kill_at && (!drain_at || kill_at < drain_at) ? kill_at : drain_at;
}

/* End the leftover processes as a last resort, because there is no adviser, or it is late. Send them the stop signal,
   wait for the grace, send SIGKILL. After a deadline everything, the command too, gets SIGKILL at once. Then exit. */
static void finish(void)
{
    int signum = orders.signals[stop] & SIGNAL, is_first = 1;
    long over = deadline() ? deadline() : now() + orders.grace * 100L;

    if (!WIFEXITED(advice) || WEXITSTATUS(advice) != HAS_SAID_WHY)
        say(now() >= over ? "the adviser has failed: everything gets SIGKILL now"
                          : "the adviser has failed: "
                            "the leftover processes get the stop signal now, and SIGKILL after the grace");
    if (!signum || signum == SIGINT) /* a shell's background jobs ignore SIGINT */
        signum = SIGTERM;
    close(0); /* perhaps the adviser failed because there was no free descriptor */
    for (long end = (over > now() ? over : now()) + CANNOT_DIE; reap() != -ECHILD && now() < end; is_first = 0) {
        if (!send(now() >= over ? SIGKILL : signum, is_first))
            break;
        nanosleep(&TENTH, 0);
    }
    _exit(orders.child && !orders.pid_one ? 128 + SIGKILL : orders.statuses[status]);
}

/* Return whether a process ignored a stop signal when that came first. It may ignore a later one because of that. */
static int ignored_first(int pid, int signum)
{
    if (!(asked & SIGNAL_BIT(signum)) && ignores(pid, signum))
        ignored |= SIGNAL_BIT(signum);
    asked |= SIGNAL_BIT(signum);
    return ignored & SIGNAL_BIT(signum) ? 1 : 0;
}

/* Send a signal to the command's process group, and to the command if it has left that. */
static long signal_group(int command, int signum)
{
    long error;

    signalled_at = milliseconds(CLOCK_BOOTTIME);
    newest = newest_pid();
    error = kill(-group, signum);
    return getpgid(command) == group ? error : kill(command, signum);
}

static void act_on(const siginfo_t *info)
{
    int order = orders.signals[info->si_signo], signum = order & SIGNAL, to;
    char line[80];

    if (info->si_signo == SIGCHLD && orders.pid_one == 1 && getpgid(orders.child) == -ESRCH) {
        orders.child = 0;
        if (adviser)
            kill(adviser, SIGCHLD);
        return;
    }
    to = orders.pid_one > 1 ? orders.pid_one : orders.child;
    if (order & IF_SENT && info->si_code > 0)
        return;
    if (orders.flags & LEADS && !orders.child && info->si_signo == SIGTSTP && info->si_code > 0)
        return; /* Ctrl-Z in a drain: nobody could continue it */
    if (order & STOPS) {
        if (!stop && (orders.child || orders.flags & PAUSES))
            report("phase", "\"stopping\"");
        stop = info->si_signo;
        is_deaf = signalled_at = 0;
        orders.flags &= ~PAUSES;
    }
    if (to) {
        if (order & OR_TERM && ignored_first(to, signum)) {
            signum = SIGTERM;
            is_deaf = ignored_first(to, SIGTERM);
        }
        if (signum && (order & GROUP ? signal_group(to, signum) : kill(to, signum)) == -EPERM) {
            put(put_number(put(line, "cannot forward signal "), signum), " to the command: Operation not permitted");
            say(line);
        }
        if (order & STOPS && !adviser && !due)
            due = now() + (orders.flags & BOUNDED || is_deaf ? 0 : SOON);
        if (order & STOPS && orders.flags & BOUNDED && !kill_at)
            kill_at = now() + orders.grace * 100L;
    }
    if (adviser && (order & STOPS || !orders.child))
        kill(adviser, info->si_signo);
}

/* Plan another adviser for one second later, because one has ended with a status other than 0. If that is useless,
   end the leftover processes here. */
static void replace_adviser(void)
{
    long time = now();

    if (!given_up)
        given_up = time + (orders.grace < PATIENCE / 100 ? orders.grace * 100 : PATIENCE);
    if (deadline() > time && given_up > (time + deadline()) / 2)
        given_up = (time + deadline()) / 2; /* the stop signal still comes before SIGKILL */
    if (!WIFEXITED(advice) || WEXITSTATUS(advice) != OWN_ERROR || time >= given_up)
        finish();
    due = time + AGAIN < given_up ? time + AGAIN : given_up;
}

static int kill_child(int pid)
{
    if (pid != adviser)
        kill(pid, SIGKILL);
    return 0;
}

__attribute__((noreturn)) static void wait_for_the_end(void)
{
    siginfo_t info;

    for (;;) {
        int left = reap(), got;
        if (left == -ECHILD && orders.child && orders.pid_one != 1)
            _exit(OWN_ERROR); /* the kernel has reaped the command: somebody has made this process ignore SIGCHLD */
        if (!orders.child && !(orders.flags & PAUSES) && orders.pid_one <= 1) {
            if (adviser && each_child(is_leftover) == 0)
                kill(adviser, SIGKILL); /* once it is reaped, no child is left */
            if (advice == 0 && left == 0)
                send(SIGKILL, 0); /* the adviser could not see the remaining processes, or could not kill them */
            if (left == -ECHILD || advice == 0)
                _exit(orders.statuses[status]);
            if (advice > 0)
                replace_adviser();
            else if (!adviser && !given_up)
                due = now();
            if (orders.drain >= 0 && !drain_at)
                drain_at = now() + orders.drain * 100L;
        }
        advice = -1;
        long time = now(), end = deadline(), late = end + LATE, next;
        long over = kill_at ? kill_at + (adviser ? OVERDUE : 0) : 0;
        if (over && time >= over)
            finish(); /* no adviser has acted on this deadline */
        if (due && time >= due && !start_adviser() && !orders.child)
            finish();
        if (adviser && end && time >= late) { /* among busy processes the adviser may get too little of a CPU */
            each_child(kill_child);
            late = time + 100;
        }
        over = adviser && end && (!over || late < over) ? late : over;
        next = due && (!over || due < over) ? due : over;
        next = next ? next : left < 0 && left != -ECHILD ? time + 100 : 0;
        next = next && next <= time ? time + 1 : next;
        struct timespec wait = {(next - time) / 1000, (next - time) % 1000 * 1000000};
        got = wait_for_signal(ALL_SIGNALS, &info, next ? &wait : 0);
        if (got > 0)
            act_on(&info);
        else if (got != -EAGAIN && got != -EINTR) /* a filter denies it */
            nanosleep(&TENTH, 0);
    }
}

/* Read Python's orders, which come as descriptor 0, and put stdin back there. */
static void take_orders(void)
{
    for (int tries = 0; read(0, &orders, sizeof orders) <= 0; tries++)
        if (tries == 9)
            _exit(OWN_ERROR);
    close(0);
    if (orders.input >= 0 && dup2(orders.input, 0) == 0)
        close(orders.input);
}

/* Give the orders that Python would give for a command without options. The script is beside this program. */
static void give_default_orders(void)
{
    static const unsigned short different[SIGNALS] = {ORDERS};
    char *end = put_own_path(orders.paths + 1, sizeof orders.paths - 10, environment);

    if (end)
        put(end, "-python");
    orders.grace = GRACE;
    orders.drain = orders.status_fd = -1;
    for (int signum = 0; signum < SIGNALS; signum++)
        orders.signals[signum] = different[signum] ? different[signum] : signum;
    for (int code = 0; code < 256; code++)
        orders.statuses[code] = code;
}

/* Return whether there is an option, a variable that holds options or names its reader, or perhaps a terminal of which
   another process leads the session. Only ENXIO shows that there is no terminal. */
static int needs_python(void)
{
    static const char *const variables[] = {VARIABLES};
    int front;

    if (argc < 2 || (words[1][0] == '-' && (argc < 3 || words[1][1] != '-' || words[1][2])))
        return 1;
    for (char **variable = environment; *variable; variable++)
        for (unsigned i = 0; i < sizeof variables / sizeof *variables; i++)
            if (begins(*variable, variables[i]))
                return 1;
    front = foreground(0);
    if (front >= 0 && getsid(0) == getpid())
        orders.flags |= LEADS;
    return front != -ENXIO && !(orders.flags & LEADS);
}

/* Start the command and return, or become Python with the same words. For Python nothing has changed, except that all
   signals are blocked. */
static void enter(sigmask mask)
{
    int go[2], ignored_sigchld, is_command = 0, descriptors = NONE;
    char byte;

    if (!needs_python() && (descriptors = other_descriptors(0)) != FILES && pipe2(go, O_CLOEXEC) == 0) {
        if ((ignored_sigchld = is_ignored(SIGCHLD)))
            set_disposition(SIGCHLD, SIG_DFL); /* otherwise the kernel would reap, and drop the status */
        orders.child = getpid() == 1 || prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? fork() : -1;
        if (orders.child > 0) {
            setpgid(orders.child, orders.child);
            if (orders.flags & LEADS && foreground(0) == getpid())
                foreground(orders.child);
            chdir("/"); /* somebody may want to unmount the caller's directory */
            if (descriptors == OTHERS)
                other_descriptors(go);
            write(go[1], "", 1); /* now the command may run */
            close(go[0]);
            close(go[1]);
            return;
        }
        if (ignored_sigchld)
            set_disposition(SIGCHLD, SIG_IGN);
        is_command = orders.child == 0;
        if (is_command) {
            close(go[1]);
            read(go[0], &byte, 1); /* wait until the waiter has left the caller's directory and descriptors */
            set_mask(mask, 0);
            exec_in_path(words + (words[1][0] == '-' ? 2 : 1), environment); /* if it returns, Python says why */
        }
    }
    become_python(getpid(), mask, is_command ? getpid() : 0);
    say("cannot start Python by the script that belongs beside it, pyinit-python");
    _exit(OWN_ERROR);
}

int main(int count, char **argv)
{
    sigmask mask = 0;

    argc = count;
    words = argv;
    environment = argv + argc + 1;
    if (WAITER) {
        take_orders();
    } else {
        int error = set_mask(ALL_SIGNALS, &mask); /* first: the kernel drops signals that PID 1 does not block */
        give_default_orders();
        if (error)
            become_python(0, 0, 0);
        enter(mask);
    }
    group = orders.child;
    prctl(PR_SET_NAME, "pyinit");
    wait_for_the_end();
}
