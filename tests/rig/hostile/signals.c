/* Counts the real-time signals that it gets by the number each carries. SIGUSR1 is answered by "well" and the count of those
 * that came exactly once; by "broken" when one came twice, or after a later one. Its handlers run on an alternate stack. Argument: how it waits meanwhile.
 *   pause, busy
 *   sigsuspend, ppoll: all are blocked but for the duration of the call
 *   handler: inside a handler, on the alternate stack */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int came[1000];
static volatile sig_atomic_t asked, latest, disorder;

static void count(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    came[info->si_value.sival_int % 1000]++;
    disorder |= info->si_value.sival_int < latest;
    latest = info->si_value.sival_int;
}

static void ask(int number)
{
    (void)number;
    asked = 1;
}

static void answer(void)
{
    char text[64];
    int once = 0, broken = disorder, size;
    for (int at = 0; at < 1000; at++) {
        once += came[at] == 1;
        broken |= came[at] > 1;
    }
    size = snprintf(text, sizeof text, "%s %d\n", broken ? "broken" : "well", once);
    asked = 0;
    if (write(1, text, size) != size)
        _exit(1);
}

static void stay(int number)
{
    char here;
    stack_t stack;
    (void)number;
    sigaltstack(0, &stack);
    if (&here < (char *)stack.ss_sp || &here >= (char *)stack.ss_sp + stack.ss_size)
        _exit(2);
    for (;;) {
        pause();
        if (asked)
            answer();
    }
}

int main(int words, char **word)
{
    static char memory[65536];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    struct sigaction counted = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction asking = {.sa_handler = ask, .sa_flags = SA_ONSTACK};
    struct sigaction staying = {.sa_handler = stay, .sa_flags = SA_ONSTACK};
    sigset_t none, all;
    const char *mode = words > 1 ? word[1] : "";
    sigemptyset(&none);
    sigfillset(&all);
    sigaltstack(&stack, 0);
    sigaction(SIGRTMIN, &counted, 0);
    sigaction(SIGUSR1, &asking, 0);
    sigaction(SIGUSR2, &staying, 0);
    if (!strcmp(mode, "sigsuspend") || !strcmp(mode, "ppoll"))
        sigprocmask(SIG_SETMASK, &all, 0);
    if (write(1, "ready\n", 6) != 6)
        return 1;
    if (!strcmp(mode, "handler"))
        raise(SIGUSR2);
    for (;;) {
        if (!strcmp(mode, "sigsuspend"))
            sigsuspend(&none);
        else if (!strcmp(mode, "ppoll"))
            ppoll(0, 0, 0, &none);
        else if (!strcmp(mode, "pause"))
            pause();
        if (asked)
            answer();
    }
}
