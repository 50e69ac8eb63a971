/* sender PID COUNT SIG...
   Sends COUNT signals to PID: the SIGs in turn. */
#include <err.h>
#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    for (int i = 0; i < atoi(argv[2]); i++)
        if (kill(atoi(argv[1]), atoi(argv[3 + i % (argc - 3)])))
            err(1, "kill");
    return 0;
}
