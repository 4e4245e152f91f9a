/*
 * The only program of the images that tests/rig/cri.py makes. What it does is its first argument; N is a number.
 *
 *   pause           collects orphans, as Kubernetes' pause does; also when called without an argument
 *   sleep           never waits
 *   leak N          never waits, and holds N zombies
 *   lie FILE        holds 2 zombies, and has a link to FILE where its termination log would be
 *   good N          as leak, and exits with status 0 on SIGTERM
 *   daemon N        waits in wait(2); a daemon that it adopted does as "good N"
 *   foreground N    as a shell with "good N" as its last command: its child is that, and it ends with the status of that
 *   child-leak N    waits in wait(2); its child holds N zombies
 *   careless N      never waits; its child holds N zombies
 *   reap            waits in wait(2) for a child that stays
 *   exit N          exits with status N at once
 *   orphan          leaves a process to whoever adopts it, which then exits
 *
 * It says "ready" when that is so.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void ready(void)
{
    if (write(1, "ready\n", 6) != 6)
        _exit(1);
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

static void wait_for_ever(void)
{
    for (;;)
        if (wait(NULL) < 0)
            pause();
}

static void exit_well(int signal)
{
    (void)signal;
    _exit(0);
}

static void end_with_child(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) != child)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void hold(int zombies)
{
    siginfo_t info;
    for (; zombies > 0; zombies--) {
        pid_t child = fork();
        if (child == 0)
            _exit(3);
        waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    }
}

static void collect(int signal)
{
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void leave_an_orphan(void)
{
    pid_t child = fork();
    if (child == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent)
                usleep(1000);
            _exit(4);
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "pause";
    int zombies = argc > 2 ? atoi(argv[2]) : 0; /* or what else N is */

    if (strcmp(what, "orphan") == 0) {
        leave_an_orphan();
        return 0;
    }
    if (strcmp(what, "exit") == 0) {
        ready();
        return zombies;
    }
    if (strcmp(what, "pause") == 0) {
        signal(SIGCHLD, collect);
    } else if (strcmp(what, "good") == 0 || strcmp(what, "foreground") == 0) {
        pid_t child = strcmp(what, "foreground") == 0 ? fork() : 0;
        if (child > 0)
            end_with_child(child);
        signal(SIGTERM, exit_well);
        hold(zombies);
    } else if (strcmp(what, "daemon") == 0) {
        if (fork() != 0)
            wait_for_ever();
        setsid();
        pid_t maker = getpid();
        if (fork() != 0)
            _exit(0);
        while (getppid() == maker)
            usleep(1000);
        signal(SIGTERM, exit_well);
        hold(zombies);
    } else if (strcmp(what, "leak") == 0) {
        hold(zombies);
    } else if (strcmp(what, "lie") == 0 && argc > 2) {
        if (symlink(argv[2], "/dev/termination-log") != 0)
            return 1;
        hold(2);
    } else if (strcmp(what, "reap") == 0 || strcmp(what, "child-leak") == 0 || strcmp(what, "careless") == 0) {
        if (fork() == 0) {
            hold(zombies);
            ready();
            sleep_for_ever();
        }
        if (strcmp(what, "careless") != 0)
            wait_for_ever();
        sleep_for_ever();
    } else if (strcmp(what, "sleep") != 0) {
        return 2;
    }
    ready();
    sleep_for_ever();
}
