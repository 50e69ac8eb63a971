/* A server that saves its data at the first SIGTERM, and dies at once of a second: careful FILE MILLISECONDS.
 * It says `up`; saving takes it that long, then it prints a last line and writes FILE. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t stop;
    int signum;

    if (argc < 3)
        return 2;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    sigaction(SIGTERM, &action, NULL);
    puts("up");
    fflush(stdout);
    sigwait(&stop, &signum);
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    usleep(atoi(argv[2]) * 1000);
    puts("the last line");
    fflush(stdout);
    FILE *file = fopen(argv[1], "w");
    return !file || fputs("saved", file) < 0 || fclose(file);
}
