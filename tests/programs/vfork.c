/* Waits in vfork(2) for a child that does nothing: the parent is in state D. */
#include <unistd.h>

int main(void)
{
	if (vfork() == 0)
		pause();
	return 0;
}
