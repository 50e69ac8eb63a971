/* receiver COUNT
   Prints `ready PID`; takes every signal; prints `complete` when COUNT real-time signals have come; at SIGTERM prints
   the number of each signal that came, in the order of their first coming, as `SIGNUM COUNT` lines, and exits 0.
   receiver -1 prints each signal's number as it comes, a line each. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long wanted = atol(argv[argc > 1 ? 1 : 0]), realtime = 0, counts[65] = {0};
    int order[65], distinct = 0;
    siginfo_t info;
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    for (;;) {
        int signum = sigwaitinfo(&all, &info);
        if (signum < 0)
            continue;
        if (!counts[signum]++)
            order[distinct++] = signum;
        if (wanted < 0) {
            printf("%d\n", signum);
            fflush(stdout);
        }
        if (signum == SIGTERM)
            break;
        if (signum >= SIGRTMIN && ++realtime == wanted) {
            puts("complete");
            fflush(stdout);
        }
    }
    for (int i = 0; wanted >= 0 && i < distinct; i++)
        printf("%d %ld\n", order[i], counts[order[i]]);
    return 0;
}
