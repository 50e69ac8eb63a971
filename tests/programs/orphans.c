/* orphans COUNT [SIG]
   Leaves COUNT orphans behind, which end as soon as they are orphans, a hundred at a time. Prints `done`, then waits to
   be killed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int left = atoi(argv[argc > 1 ? 1 : 0]), ends[2];
    char byte;

    while (left > 0) {
        int batch = left < 100 ? left : 100;
        pid_t parent = fork();
        if (parent == 0) {
            if (pipe(ends))
                _exit(1);
            for (int i = 0; i < batch; i++) {
                pid_t pid = fork();
                if (pid < 0)
                    _exit(1);
                if (pid == 0) {
                    close(ends[1]);
                    (void)!read(ends[0], &byte, 1); /* until the parent has gone */
                    _exit(i % 7);
                }
            }
            _exit(0);
        }
        int status;
        if (parent < 0 || waitpid(parent, &status, 0) != parent || status)
            return 1;
        left -= batch;
    }
    puts("done");
    fflush(stdout);
    for (;;)
        pause();
}
