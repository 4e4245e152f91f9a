/* The PID 1 of a namespace with many processes, and a meter for how long nothing can fork. Python would take 30 times the memory.

   crowd living N 0 INIT           N idle children
   crowd parents N PARENTS INIT    so many parents, children of this one, which share N zombies
   crowd container N 1 INIT        a PID namespace below, whose own PID 1 holds N zombies
   crowd forks                     forks until SIGTERM and prints the longest time from one fork to the next, in seconds

   INIT: "reaps", or "keeps" for one that never waits. It says "ready" when all are there, and then stays. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked_to_end;

static void ask_to_end(int number) { (void)number; asked_to_end = 1; }

static void fail(const char *what) { perror(what); _exit(1); }

static void stay(void) { for (;;) pause(); }

static pid_t begin_and_end(void) {
    pid_t pid = vfork();
    if (pid == 0) _exit(0);
    if (pid < 0) fail("vfork");
    return pid;
}

static void hold_zombies(long count) {
    pid_t pid = 0;
    for (long made = 0; made < count; made++) pid = begin_and_end();
    siginfo_t info;
    if (count && waitid(P_PID, pid, &info, WEXITED | WNOWAIT)) fail("waitid");
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int forks(void) {
    double longest = 0, last = now();
    signal(SIGTERM, ask_to_end);
    puts("ready");
    fflush(stdout);
    while (!asked_to_end) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        if (pid > 0) {
            double time = now();
            if (time - last > longest) longest = time - last;
            last = time;
            while (waitpid(pid, NULL, 0) < 0 && !asked_to_end) {}
        }
        usleep(200);
    }
    if (now() - last > longest) longest = now() - last;
    printf("%.6f\n", longest);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "forks")) return forks();
    if (argc != 5) return 2;
    const char *kind = argv[1];
    long count = atol(argv[2]), parents = atol(argv[3]);
    int living = !strcmp(kind, "living"), container = !strcmp(kind, "container"), ready[2];
    long children = living ? count : parents;
    if (container && unshare(CLONE_NEWPID)) fail("unshare");
    if (pipe(ready)) fail("pipe");
    for (long child = 0; child < children; child++) {
        pid_t pid = fork();
        if (pid < 0) fail("fork");
        if (pid) continue;
        if (living) stay();
        hold_zombies(count / parents);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        stay();
    }
    for (long child = 0; child < children && !living; child++) {
        char byte;
        if (read(ready[0], &byte, 1) != 1) fail("read");
    }
    if (write(1, "ready\n", 6) != 6) return 1;
    if (!strcmp(argv[4], "reaps")) while (waitpid(-1, NULL, 0) > 0) {}
    stay();
}
