/* tree SEED ROOT STATUS [-]
   Grows a tree of processes that the SEED decides: they fork, leave the group or the session, ignore, block or handle
   SIGTERM, stop, wait for each other and die, by themselves, by a signal or never. Prints `grown`, then ends with STATUS,
   129 and more by a signal: with ROOT `ends` soon, with `stops` when SIGTERM comes, with `stays` never, not for SIGTERM
   either. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned int state;
static int status, left = 40; /* processes that may be forked from here on, so that no tree is a forest */

static int chance(int of) /* 0 to of - 1, the same for the same seed everywhere */
{
    state = state * 1103515245u + 12345u;
    return state >> 16 & 0x7fff ? (int)((state >> 16 & 0x7fff) % of) : 0;
}

static void nap(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static void end(int signum)
{
    (void)signum;
    if (status > 128) {
        signal(status - 128, SIG_DFL);
        raise(status - 128);
    }
    _exit(status);
}

static void leave_one_more(int signum)
{
    (void)signum;
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            pause();
    }
    _exit(1);
}

static void grow(int depth);

static void live(int depth) /* of a process below the root: never returns */
{
    sigset_t term;

    if (chance(6) == 0)
        setsid();
    else if (chance(6) == 0)
        setpgid(0, 0);
    status = chance(256);
    switch (chance(6)) {
    case 0: signal(SIGTERM, SIG_IGN); break;
    case 1: signal(SIGTERM, end); break;
    case 2: signal(SIGTERM, leave_one_more); break;
    case 3:
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        sigprocmask(SIG_BLOCK, &term, NULL);
    }
    grow(depth);
    switch (chance(8)) {
    case 0: nap(chance(50)); break;
    case 1: raise(SIGKILL);
    case 2: raise(SIGSTOP); break;
    case 3: while (wait(NULL) > 0) ; break;
    case 4: close(0); close(1); close(2); /* and stay */
    case 5: for (;;) pause();
    case 6: execlp("sleep", "sleep", "1000", NULL);
    }
    _exit(status);
}

static void grow(int depth)
{
    for (int children = chance(4); depth < 5 && children > 0 && left > 0; children--) {
        left -= 1;
        unsigned int seed = state = state * 69069u + 1; /* what the child draws does not depend on who is faster */
        if (fork() == 0) {
            state = seed ^ 0x5bd1e995u;
            left /= 2;
            live(depth + 1);
        }
    }
}

int main(int argc, char **argv)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};

    if (argc < 4)
        return 2;
    state = (unsigned int)atol(argv[1]) * 2654435761u;
    for (unsigned int i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    grow(0);
    grow(0);
    status = atoi(argv[3]);
    signal(SIGTERM, strcmp(argv[2], "stays") ? end : SIG_IGN);
    puts("grown");
    fflush(stdout);
    if (strcmp(argv[2], "ends") == 0) {
        nap(chance(60));
        end(0);
    }
    for (;;)
        pause();
}
