/* namespaces CHAINS DEPTH: makes that many chains of PID namespaces, one in the other, each DEPTH deep or as deep as the kernel lets it.
 * The innermost PID 1 of each chain keeps a zombie. Prints "ready", then how many namespaces there are, and how deep the last chain is. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int told[2];

static pid_t fork_into_a_namespace(void)
{
    return syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
}

static void go_down_from(unsigned char level, int depth)
{
    siginfo_t info;
    pid_t child = -1;
    while (level < depth && (child = fork_into_a_namespace()) == 0)
        level++;
    if (child <= 0) { /* the innermost */
        child = fork();
        if (child == 0)
            _exit(3);
        if (child < 0 || waitid(P_PID, child, &info, WEXITED | WNOWAIT) || write(told[1], &level, 1) != 1)
            _exit(1);
    }
    for (;;)
        pause();
}

int main(int count, char **words)
{
    int chains = count == 3 ? atoi(words[1]) : 0, depth = count == 3 ? atoi(words[2]) : 0, all = 0;
    unsigned char level = 0;
    if (!chains || !depth || pipe(told))
        return 2;
    for (int chain = 0; chain < chains; chain++) {
        pid_t child = fork_into_a_namespace();
        if (child == 0)
            go_down_from(1, depth);
        if (child < 0 || read(told[0], &level, 1) != 1)
            return 1;
        all += level;
    }
    printf("ready\n%d %d\n", all, level);
    fflush(stdout);
    for (;;)
        pause();
}
