/* PID 1 that lies in wait for the next two processes in its PID namespace, whose PIDs are known before they are there: of a canary these are
 * the mother, 1, and the canary itself, 2. Does to them, in this order and as soon as it can, what its arguments say: "1s" stops the
 * first, "2k" kills the second, "1w" waits until the first is no longer there, not even as a zombie. Whoever was stopped stays so. Meanwhile it
 * calls itself "hunting", then "fed", and waits for whatever it is given. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words)
{
    pid_t last = fork();
    if (last == 0)
        _exit(0);
    if (waitpid(last, 0, 0) != last || prctl(PR_SET_NAME, "hunting") || write(1, "ready\n", 6) != 6)
        return 1;
    for (int place = 1; place < count; place++) {
        pid_t pid = last + words[place][0] - '0';
        char order = words[place][1];
        int signal = order == 's' ? SIGSTOP : order == 'k' ? SIGKILL : 0;
        while ((kill(pid, signal) == 0) == (order == 'w'))
            usleep(500); /* its prey lives until the audit has seen that it is fed */
    }
    prctl(PR_SET_NAME, "fed");
    for (;;)
        if (wait(0) < 0)
            usleep(20000);
}
