/* Calls execve(2) on itself for ever; whenever it holds no zombie it makes eight, so that they do not grow faster than a busy machine
 * collects them. With the argument "thread" a second thread does so, while the first sleeps: it then takes the place, and the PID, of the first. */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char **words;

static void *again(void *unused)
{
    char *next[] = {words[0], words[1], "again", 0};
    siginfo_t info = {0};
    int left = 8;
    (void)unused;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) || !info.si_pid)
        while (left--) {
            pid_t child = fork();
            if (child == 0)
                _exit(3);
            waitid(P_PID, child, &info, WEXITED | WNOWAIT);
        }
    usleep(2000); /* else it is never seen with a zombie and without execve */
    execve(words[0], next, environ);
    _exit(1);
}

int main(int count, char **given)
{
    pthread_t thread;
    words = given;
    if (count < 2)
        return 2;
    if (count == 2 && write(1, "ready\n", 6) != 6)
        return 1;
    if (strcmp(given[1], "thread"))
        again(0);
    if (pthread_create(&thread, 0, again, 0))
        return 1;
    for (;;)
        pause();
}
