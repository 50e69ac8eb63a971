/* traced [SIG]
   Has its parent trace it, when signal SIG has come if there is one, and is stopped by a signal, for which its parent's
   waitpid(2) returns. */
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>

int main(int argc, char **argv)
{
    sigset_t awaited;
    int signum = 0;

    if (argc > 1) {
        sigemptyset(&awaited);
        sigaddset(&awaited, atoi(argv[1]));
        sigprocmask(SIG_BLOCK, &awaited, NULL);
        sigwait(&awaited, &signum);
        sigprocmask(SIG_UNBLOCK, &awaited, NULL);
    }
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGUSR1);
    return 5;
}
