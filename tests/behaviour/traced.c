/* Has its parent trace it, and is stopped by a signal, for which its parent's waitpid(2) returns. */
#include <signal.h>
#include <sys/ptrace.h>

int main(void)
{
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGUSR1);
    return 5;
}
