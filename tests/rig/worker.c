/* worker KIND FILE [THREADS]: works for ever, in the way that KIND says, and checks its own work.
 *
 * FILE gets the number of rounds done. At the first thing that is not as it must be, FILE.wrong says what, and it exits.
 * No interruption may show but where signal(7) allows EINTR: in epoll_wait and sigtimedwait, and when a handler has run. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 16
#define SLICE_MS 20
static const uint64_t A = 6364136223846793005u, C = 1442695040888963407u;

static const char *file;
static int progress, threads = 1;
static volatile uint64_t done[MOST_THREADS];
static sigset_t expected_mask;

static void wrong(const char *what, int line)
{
    char path[4096];
    int error = errno;
    snprintf(path, sizeof path, "%s.wrong", file);
    FILE *out = fopen(path, "w");
    fprintf(out, "line %d: %s (errno %d)\n", line, what, error);
    fclose(out);
    _exit(9);
}
#define MUST(what) do { if (!(what)) wrong(#what, __LINE__); } while (0)

static void one_round_done(long thread)
{
    sigset_t mask;
    MUST(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && memcmp(&mask, &expected_mask, 8) == 0);
    done[thread]++;
    if (thread == 0) {
        uint64_t least = done[0];
        for (int i = 1; i < threads; i++)
            if (done[i] < least)
                least = done[i];
        char text[32];
        int size = snprintf(text, sizeof text, "%020llu\n", (unsigned long long)least);
        MUST(pwrite(progress, text, size, 0) == size);
    }
}

static void end_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }

static void pause_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};
    while (nanosleep(&time, &time))
        ;
}

static int64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

/* x after n steps of x = A x + C, computed in another way: by squaring. */
static uint64_t after_steps(uint64_t x, uint64_t n)
{
    uint64_t a = A, c = C;
    for (; n; n >>= 1) {
        if (n & 1)
            x = a * x + c;
        c *= a + 1;
        a *= a;
    }
    return x;
}

/* All in registers, integer and floating point. */
static void checksum(long thread)
{
    uint64_t x = thread, n = 0;
    double sum = 0;
    for (;;) {
        for (int i = 0; i < 1 << 20; i++) {
            x = A * x + C;
            sum += 1;
        }
        n += 1 << 20;
        MUST(x == after_steps(thread, n));
        MUST(sum == (double)n);
        one_round_done(thread);
        if (thread)
            pause_ms(SLICE_MS); /* one busy thread in a process is enough for a small machine */
    }
}

/* Mostly inside the vDSO. */
static void clocks(long thread)
{
    int64_t before = now_us();
    for (;;) {
        for (int i = 0; i < 200000; i++) {
            int64_t now = now_us();
            MUST(now >= before);
            before = now;
        }
        one_round_done(thread);
        pause_ms(SLICE_MS);
    }
}

/* As many system calls as it can, each with a result that is known. */
static void calls(long thread)
{
    int pipe_ends[2];
    pid_t pid = getpid();
    uint64_t x = thread, back, n = 0;
    MUST(pipe(pipe_ends) == 0);
    for (;;) {
        for (int i = 0; i < 200; i++) {
            x = A * x + C;
            MUST(write(pipe_ends[1], &x, sizeof x) == sizeof x);
            MUST(getppid() != pid);
            MUST(read(pipe_ends[0], &back, sizeof back) == sizeof back && back == x);
            MUST(getpid() == pid);
            n++;
        }
        MUST(x == after_steps(thread, n));
        one_round_done(thread);
        pause_ms(SLICE_MS);
    }
}

static volatile uint64_t alarms, queued;
static void on_alarm(int number) { (void)number; alarms++; }
static void on_queued(int number, siginfo_t *info, void *context) { (void)number; (void)context; queued += info->si_value.sival_int; }

/* Handlers all the time: by a timer, and queued by itself. */
static void signals(long thread)
{
    struct sigaction alarm_action = {.sa_handler = on_alarm}, queued_action = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO};
    struct itimerval every = {{0, 3000}, {0, 3000}};
    sigaction(SIGALRM, &alarm_action, NULL);
    sigaction(SIGRTMIN, &queued_action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t sum = 0;
    for (int n = 1;; n = n % 1000 + 1) {
        MUST(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n}) == 0);
        sum += n;
        MUST(queued == sum);
        uint64_t before = alarms;
        struct timespec time = {0, 2000000};
        MUST(nanosleep(&time, NULL) == 0 || (errno == EINTR && alarms != before));
        before = alarms;
        MUST(poll(NULL, 0, 2) == 0 || (errno == EINTR && alarms != before));
        before = alarms;
        if (n % 10 == 0)
            MUST(pause() == -1 && errno == EINTR && alarms != before);
        one_round_done(thread);
    }
}

static void in_nanosleep(long thread)
{
    for (;;) {
        int64_t before = now_us();
        struct timespec time = {0, SLICE_MS * 1000000};
        MUST(nanosleep(&time, NULL) == 0);
        MUST(now_us() - before >= SLICE_MS * 1000);
        one_round_done(thread);
    }
}

static void in_poll(long thread)
{
    for (;;) {
        int64_t before = now_us();
        MUST(poll(NULL, 0, SLICE_MS) == 0);
        MUST(now_us() - before >= SLICE_MS * 1000 - 1000);
        one_round_done(thread);
    }
}

static void in_epoll_wait(long thread)
{
    int set = epoll_create1(0);
    struct epoll_event event;
    for (;;) {
        int ready = epoll_wait(set, &event, 1, SLICE_MS);
        MUST(ready == 0 || (ready == -1 && errno == EINTR));
        one_round_done(thread);
    }
}

static void in_futex(long thread)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SLICE_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        MUST(pthread_mutex_lock(&mutex) == 0);
        int result = pthread_cond_timedwait(&never, &mutex, &until);
        MUST(result == ETIMEDOUT || result == 0);
        MUST(pthread_mutex_unlock(&mutex) == 0);
        one_round_done(thread);
    }
}

/* A child writes 1, 2, 3 ... */
static void in_read(long thread)
{
    int ends[2];
    MUST(pipe(ends) == 0);
    if (fork() == 0) {
        end_with_parent();
        for (uint64_t n = 1;; n++) {
            pause_ms(SLICE_MS);
            if (write(ends[1], &n, sizeof n) != sizeof n)
                _exit(0);
        }
    }
    for (uint64_t n = 1, got;; n++) {
        MUST(read(ends[0], &got, sizeof got) == sizeof got);
        MUST(got == n);
        one_round_done(thread);
    }
}

/* A child connects and sends 1, 2, 3 ... */
static void in_accept(long thread)
{
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = sizeof name;
    MUST(bind(listening, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0); /* the kernel gives it a name */
    MUST(getsockname(listening, (struct sockaddr *)&name, &size) == 0);
    MUST(listen(listening, 100) == 0);
    if (fork() == 0) {
        end_with_parent();
        for (uint64_t n = 1;; n++) {
            pause_ms(SLICE_MS);
            int out = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(out, (struct sockaddr *)&name, size) || write(out, &n, sizeof n) != sizeof n)
                _exit(0);
            close(out);
        }
    }
    for (uint64_t n = 1, got;; n++) {
        int in = accept(listening, NULL, NULL);
        MUST(in > listening);
        MUST(recv(in, &got, sizeof got, MSG_WAITALL) == sizeof got);
        MUST(got == n);
        close(in);
        one_round_done(thread);
    }
}

/* A child queues 1, 2, 3 ... */
static void in_sigtimedwait(long thread)
{
    sigset_t wanted;
    siginfo_t info;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    sigprocmask(SIG_SETMASK, NULL, &expected_mask);
    if (fork() == 0) {
        end_with_parent();
        for (int n = 1;; n++) {
            pause_ms(SLICE_MS);
            if (sigqueue(getppid(), SIGRTMIN, (union sigval){.sival_int = n}))
                _exit(0);
        }
    }
    struct timespec long_enough = {60, 0};
    for (int n = 1;; n++) {
        int got;
        do
            got = sigtimedwait(&wanted, &info, &long_enough);
        while (got == -1 && errno == EINTR);
        MUST(got == SIGRTMIN && info.si_value.sival_int == n);
        one_round_done(thread);
    }
}

/* A child stops itself again and again and never ends. */
static void in_wait4(long thread)
{
    pid_t child = fork();
    if (child == 0) {
        end_with_parent();
        for (;;) {
            pause_ms(SLICE_MS);
            raise(SIGSTOP);
        }
    }
    for (;;) {
        int status;
        MUST(waitpid(child, &status, WUNTRACED) == child);
        MUST(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
        MUST(kill(child, SIGCONT) == 0);
        one_round_done(thread);
    }
}

static const struct { const char *name; void (*work)(long); } kinds[] = {
    {"checksum", checksum}, {"clocks", clocks}, {"calls", calls}, {"signals", signals}, {"nanosleep", in_nanosleep},
    {"poll", in_poll}, {"epoll_wait", in_epoll_wait}, {"futex", in_futex}, {"read", in_read}, {"accept", in_accept},
    {"sigtimedwait", in_sigtimedwait}, {"wait4", in_wait4}};

static void (*work)(long);
static void *thread_main(void *number) { work((long)number); return NULL; }

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, arguments[1]) == 0)
            work = kinds[i].work;
    file = arguments[2];
    threads = count > 3 ? atoi(arguments[3]) : 1;
    progress = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (!work || progress < 0 || threads < 1 || threads > MOST_THREADS)
        return 2;
    sigprocmask(SIG_SETMASK, NULL, &expected_mask);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, thread_main, (void *)i);
    }
    work(0);
}
