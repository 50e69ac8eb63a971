/* Blocks SIGTERM and SIGINT, takes SIGTERM by signalfd(2), says up, and waits. */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(void)
{
	sigset_t blocked, taken;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	taken = blocked;
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	struct pollfd fd = {signalfd(-1, &taken, 0), POLLIN, 0};
	if (write(1, "up\n", 3) != 3)
		return 1;
	poll(&fd, 1, -1);
	return 0;
}
