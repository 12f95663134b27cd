/* The process that holds a pod's namespaces open. As the first process of its pid namespace it also collects children
   whose parents are gone. It ends when it is told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int number)
{
	(void)number;
	_exit(0);
}

static void collect(int number)
{
	(void)number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(void)
{
	struct sigaction ends = {.sa_handler = leave};
	struct sigaction child = {.sa_handler = collect, .sa_flags = SA_NOCLDSTOP};

	if (sigaction(SIGINT, &ends, NULL) < 0 || sigaction(SIGTERM, &ends, NULL) < 0 ||
	    sigaction(SIGCHLD, &child, NULL) < 0)
		return 1;
	for (;;)
		pause();
}
