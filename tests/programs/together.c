/* together: ends with status 7 at the same moment as an orphan that it has left behind. */
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int end[2], adopted[2];
    char byte;

    if (pipe(end) || pipe(adopted))
        return 1;
    pid_t parent = fork();
    if (parent == 0) {
        if (fork() == 0) {
            close(end[1]);
            close(adopted[0]);
            (void)!write(adopted[1], "", 1);
            (void)!read(end[0], &byte, 1); /* until main is about to have gone */
            _exit(0);
        }
        _exit(0);
    }
    waitpid(parent, 0, 0);
    (void)!read(adopted[0], &byte, 1);
    close(end[1]);
    _exit(7);
}
