/* caller [-b SIG] [-B SIG] [-i SIG] [-e FILE | -E FILE] -- program [argument...]
   Starts a program as no Python could: every signal is first put back to its default and unblocked, then -b blocks one
   (-B by the bare system call, which glibc allows for no signal of its own), -i ignores one, -e takes the environment
   from FILE, entry for entry, each ended by a NUL, and adds the PYINIT_TEST of its own; -E does not add that. */
#define _GNU_SOURCE
#include <err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static void read_environment(const char *path, char *added)
{
    static char block[1 << 20];
    static char *entries[4096];
    FILE *file = fopen(path, "r");
    size_t size, at = 0, count = 0;

    if (!file)
        err(99, "%s", path);
    size = fread(block, 1, sizeof block - 1, file);
    fclose(file);
    for (; at < size; at += strlen(block + at) + 1)
        entries[count++] = block + at;
    if (added)
        entries[count++] = added;
    environ = entries;
}

int main(int argc, char **argv)
{
    uint64_t bare = 0;
    sigset_t blocked;
    char *marker = getenv("PYINIT_TEST"), added[256];
    int option;

    for (int signum = 1; signum <= 64; signum++)
        signal(signum, SIG_DFL);
    sigemptyset(&blocked);
    snprintf(added, sizeof added, "PYINIT_TEST=%s", marker ? marker : "");
    while ((option = getopt(argc, argv, "+b:B:i:e:E:")) != -1) {
        switch (option) {
        case 'b': sigaddset(&blocked, atoi(optarg)); break;
        case 'B': bare |= 1ULL << (atoi(optarg) - 1); break;
        case 'i': signal(atoi(optarg), SIG_IGN); break;
        case 'e': read_environment(optarg, added); break;
        case 'E': read_environment(optarg, NULL); break;
        default: return 99;
        }
    }
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    if (bare)
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, &bare, NULL, sizeof bare);
    execvp(argv[optind], argv + optind);
    err(99, "%s", argv[optind]);
}
