/* A process whose main thread blocks SIGTERM: `sigwait`, another thread waits for it; `handler`, another thread takes it
   by a handler; `gone`, the same, and the main thread has ended; `none`, nobody takes it. Says up. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const char *mode;

static void end(int signum)
{
	_exit(signum == SIGTERM ? 5 : 1);
}

static void *other(void *unused)
{
	sigset_t set;
	int signum;
	(void)unused;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (!strcmp(mode, "handler") || !strcmp(mode, "gone"))
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (write(1, "up\n", 3) != 3)
		_exit(1);
	if (!strcmp(mode, "sigwait") && sigwait(&set, &signum) == 0)
		_exit(5);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	pthread_t thread;
	sigset_t set;
	mode = argc > 1 ? argv[1] : "none";
	if (strcmp(mode, "none") && strcmp(mode, "sigwait"))
		signal(SIGTERM, end);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, other, NULL);
	if (!strcmp(mode, "gone"))
		pthread_exit(NULL);
	for (;;)
		pause();
}
