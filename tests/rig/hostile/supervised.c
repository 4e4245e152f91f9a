/* Makes one system call that its filter leaves to a supervisor, as runtimes do that emulate mount(2) (seccomp_unotify(2)). The
 * supervisor, a child, says "ready" when it is told of the call and "again" when it is told once more, and answers on SIGUSR2.
 * Then the call is "done". SIGUSR1 is answered by "well". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(1);
}

static void answer(int number)
{
    (void)number;
    say("well\n");
}

static void supervise(int listener)
{
    sigset_t answers;
    int number;
    const char *text = "ready\n";
    sigemptyset(&answers);
    sigaddset(&answers, SIGUSR2);
    for (;; text = "again\n") {
        struct seccomp_notif call;
        struct seccomp_notif_resp result;
        memset(&call, 0, sizeof call);
        memset(&result, 0, sizeof result);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
            continue;
        say(text);
        sigwait(&answers, &number);
        result.id = call.id;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &result);
    }
}

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdirat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    sigset_t answers;
    int listener;
    signal(SIGUSR1, answer);
    sigemptyset(&answers);
    sigaddset(&answers, SIGUSR2);
    sigprocmask(SIG_BLOCK, &answers, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (listener < 0)
        return 1;
    if (fork() == 0)
        supervise(listener);
    if (syscall(SYS_mkdirat, AT_FDCWD, "nothing", 0) == 0)
        say("done\n");
    for (;;)
        pause();
}
