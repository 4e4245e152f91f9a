/*
 * A server with a handler for SIGCHLD that waits for one child at each signal, and does not say WNOHANG.
 *
 *   sigchld HOW N    HOW: si_pid (waits for the child that the signal is about), any (waits for any), deaf (has a handler that does not wait),
 *                    blocked (as deaf, and its SIGCHLD is blocked and pending)
 *
 * It holds N zombies, of which the first called exit(3) and the others died of SIGTERM, and a child that lives on. It says "ready" when that is so; at each
 * SIGCHLD what that was about; and "tick" when asked by SIGUSR1, unless it hangs.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *how;
static volatile sig_atomic_t asked;

static void on_sigchld(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    dprintf(1, "about %d status %d uid %d\n", info->si_pid, info->si_status, (int)info->si_uid);
    if (strcmp(how, "si_pid") == 0)
        waitpid(info->si_pid, NULL, 0);
    else if (strcmp(how, "any") == 0)
        waitpid(-1, NULL, 0);
}

static void on_sigusr1(int number)
{
    (void)number;
    asked = 1;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_sigchld, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct timespec none = {0, 0};
    siginfo_t info;
    sigset_t set;
    int zombies = argc > 2 ? atoi(argv[2]) : 0;

    how = argc > 1 ? argv[1] : "si_pid";
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, on_sigusr1);
    if (fork() == 0)
        for (;;)
            pause();
    for (int child = 0; child < zombies; child++) {
        pid_t pid = fork();
        if (pid == 0) {
            setsid(); /* as an orphan would: waitpid(0) is not for it */
            signal(SIGTERM, SIG_DFL);
            if (child > 0)
                for (;;)
                    raise(SIGTERM), kill(getpid(), SIGKILL);
            _exit(3);
        }
        waitid(P_PID, pid, &info, WEXITED | WNOWAIT);
    }
    sigaction(SIGCHLD, &action, NULL);
    if (strcmp(how, "blocked") != 0) {
        sigtimedwait(&set, NULL, &none);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    dprintf(1, "ready\n");
    for (;;) {
        usleep(1000);
        if (asked) {
            asked = 0;
            dprintf(1, "tick\n");
        }
    }
}
