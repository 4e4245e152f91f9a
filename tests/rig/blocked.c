/* blocked NAME: waits in one system call, and says on standard output what that call returned.
 *
 * The calls are made without libc's wrappers, so that what the kernel returns is what is told, but for those that aarch64 does
 * not have: there libc makes others. A helper, its living child,
 * brings the event about once a line comes from standard input. Calls that end by themselves (named timed_...) have no
 * helper; they begin when the line comes. After EINTR the call is made again, as a robust program does. SIGUSR1 is blocked,
 * but for the duration of ppoll, pselect, epoll_pwait and sigsuspend (and always open for pause, which has no mask).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG 1000
#define SHORT 10

static int in, out; /* what main waits for comes in here; the helper has the other end */
static int set, *word;
static pid_t helper, program;
static unsigned long long mask_usr1 = 1ULL << (SIGUSR1 - 1), mask_none;
static struct { void *mask; size_t size; } pselect_mask = { &mask_none, 8 };
static struct timespec long_time = { LONG, 0 }, short_time = { SHORT, 0 }, until;
static aio_context_t aio;
static volatile sig_atomic_t handled;

static void handler(int signal) { (void)signal; handled++; }
static void need(int fine, const char *what) { if (!fine) { printf("broken %s %s\n", what, strerror(errno)); exit(1); } }

/* Before the helper is started. */
static void a_pipe(void) { int ends[2]; need(!pipe(ends), "pipe"); in = ends[0]; out = ends[1]; }
static void a_full_pipe(void) {
    static char bytes[4096];
    a_pipe();
    fcntl(out, F_SETFL, O_NONBLOCK);
    while (write(out, bytes, sizeof bytes) > 0) { }
    fcntl(out, F_SETFL, 0);
}
static void sockets(void) { int ends[2]; need(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair"); in = ends[0]; out = ends[1]; }
static void timeouts(int fd) {
    struct timeval time = { LONG, 0 };
    need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) && !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time), "timeouts");
}
static void sockets_with_timeouts(void) { sockets(); timeouts(in); timeouts(out); }
static void full_socket_with_timeouts(void) {
    static char bytes[4096];
    sockets_with_timeouts();
    while (send(in, bytes, sizeof bytes, MSG_DONTWAIT) > 0) { }
}
static void listening(void) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    in = socket(AF_UNIX, SOCK_STREAM, 0);
    need(!bind(in, (void *)&name, sizeof(sa_family_t)) && !listen(in, 1), "listen"); /* the kernel chooses a name */
}
static void listening_with_timeouts(void) { listening(); timeouts(in); }
static void an_epoll(void) {
    struct epoll_event event = { .events = EPOLLIN };
    a_pipe();
    set = epoll_create1(0);
    need(!epoll_ctl(set, EPOLL_CTL_ADD, in, &event), "epoll");
}
static void a_fifo(void) { need(!mkfifo("fifo", 0600), "mkfifo"); }
static void an_eventfd(void) { in = out = eventfd(0, 0); }
static void a_signalfd(void) { in = syscall(SYS_signalfd4, -1, &mask_usr1, 8, 0); }
static void an_inotify(void) { in = inotify_init(); need(!mkdir("watched", 0700) && inotify_add_watch(in, "watched", IN_CREATE) > 0, "inotify"); }
static void a_lock(void) { in = open("lock", O_RDWR | O_CREAT, 0600); }
static void a_message_queue(void) { set = syscall(SYS_msgget, IPC_PRIVATE, 0600); need(set >= 0, "msgget"); }
static void a_posix_queue(void) { in = out = syscall(SYS_mq_open, "queue", O_RDWR | O_CREAT, 0600, NULL); need(in >= 0, "mq_open"); }
static void a_semaphore(void) { set = syscall(SYS_semget, IPC_PRIVATE, 1, 0600); need(set >= 0, "semget"); }
static void an_aio(void) {
    static struct iocb request, *requests = &request;
    a_pipe();
    request.aio_lio_opcode = IOCB_CMD_POLL;
    request.aio_fildes = in;
    request.aio_buf = POLLIN;
    need(!syscall(SYS_io_setup, 1, &aio) && syscall(SYS_io_submit, aio, 1, &requests) == 1, "aio");
}

/* In the helper: what has to be held from the beginning, and the event. */
static void locks(void) { in = open("lock", O_RDWR | O_CREAT, 0600); need(!flock(in, LOCK_EX), "flock"); }
static void locks_record(void) {
    struct flock whole = { .l_type = F_WRLCK };
    in = open("lock", O_RDWR | O_CREAT, 0600);
    need(!fcntl(in, F_SETLK, &whole), "F_SETLK");
}
static void writes(void) { need(write(out, "12345678", 8) == 8, "write"); }
static void drains(void) { static char bytes[1 << 20]; need(read(in, bytes, sizeof bytes) > 0, "read"); }
static void drains_out(void) { static char bytes[1 << 20]; need(read(out, bytes, sizeof bytes) > 0, "read"); }
static void connects(void) {
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    getsockname(in, (void *)&name, &size);
    need(!connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, size), "connect");
    sleep(1);
}
static void wakes(void) { *word = 1; need(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1, "wake"); }
static void signals(void) { kill(program, SIGUSR1); }
static void opens(void) { need(open("fifo", O_WRONLY) >= 0, "open"); }
static void creates(void) { need(open("watched/new", O_CREAT | O_WRONLY, 0600) >= 0, "create"); }
static void ends(void) { _exit(7); }
static void sends_message(void) { long message[2] = { 1, 0 }; need(!syscall(SYS_msgsnd, set, message, 8, 0), "msgsnd"); }
static void sends_posix(void) { need(!syscall(SYS_mq_timedsend, out, "x", 1, 0, NULL), "mq_send"); }
static void posts(void) { struct { unsigned short number; short by, flags; } up = { 0, 1, 0 }; need(!syscall(SYS_semop, set, &up, 1), "semop"); }

/* In main: the call itself. */
#ifdef SYS_poll
#define OPEN(...) syscall(SYS_open, __VA_ARGS__)
#define POLL(...) syscall(SYS_poll, __VA_ARGS__)
#define SELECT(...) syscall(SYS_select, __VA_ARGS__)
#define EPOLL_WAIT(...) syscall(SYS_epoll_wait, __VA_ARGS__)
#define PAUSE() syscall(SYS_pause)
#else
#define OPEN open
#define POLL poll
#define SELECT select
#define EPOLL_WAIT epoll_wait
#define PAUSE pause
#endif
static char buffer[8192];
static long c_read(void) { return syscall(SYS_read, in, buffer, sizeof buffer); }
static long c_write(void) { return syscall(SYS_write, out, buffer, 4096); }
static long one(long fd) { return fd < 0 ? fd : 1; }
static long c_open(void) { return one(OPEN("fifo", O_RDONLY)); }
static long c_recv(void) { return syscall(SYS_recvfrom, in, buffer, sizeof buffer, 0, NULL, NULL); }
static long c_send(void) { return syscall(SYS_sendto, in, buffer, 4096, 0, NULL, 0); }
static long c_accept(void) { return one(syscall(SYS_accept, in, NULL, NULL)); }
static struct pollfd polled(void) { return (struct pollfd){ in, POLLIN, 0 }; }
static long c_poll(void) { struct pollfd p = polled(); return POLL(&p, 1, LONG * 1000); }
static long c_ppoll(void) { struct pollfd p = polled(); struct timespec time = long_time; return syscall(SYS_ppoll, &p, 1, &time, &mask_none, 8); }
static long c_select(void) {
    fd_set files; struct timeval time = { LONG, 0 };
    FD_ZERO(&files); FD_SET(in, &files);
    return SELECT(in + 1, &files, NULL, NULL, &time);
}
static long c_pselect(void) {
    fd_set files; struct timespec time = long_time;
    FD_ZERO(&files); FD_SET(in, &files);
    return syscall(SYS_pselect6, in + 1, &files, NULL, NULL, &time, &pselect_mask);
}
static struct epoll_event event;
static long c_epoll_wait(void) { return EPOLL_WAIT(set, &event, 1, -1); }
static long c_epoll_wait_timeout(void) { return EPOLL_WAIT(set, &event, 1, LONG * 1000); }
static long c_epoll_pwait(void) { return syscall(SYS_epoll_pwait, set, &event, 1, -1, &mask_none, 8); }
static long c_futex(void) { return syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0); }
static long c_futex_timeout(void) { return syscall(SYS_futex, word, FUTEX_WAIT, 0, &long_time, NULL, 0); }
static long c_sigtimedwait(void) { return syscall(SYS_rt_sigtimedwait, &mask_usr1, NULL, &long_time, 8); }
static long c_sigwaitinfo(void) { return syscall(SYS_rt_sigtimedwait, &mask_usr1, NULL, NULL, 8); }
static long c_sigsuspend(void) { return syscall(SYS_rt_sigsuspend, &mask_none, 8); }
static long c_pause(void) { return PAUSE(); }
static long c_wait4(void) { int status = 0; return syscall(SYS_wait4, helper, &status, 0, NULL) == helper ? status >> 8 : -1; }
static long c_waitid(void) { siginfo_t info; return syscall(SYS_waitid, P_PID, helper, &info, WEXITED, NULL) ? -1 : info.si_status; }
static long c_flock(void) { return syscall(SYS_flock, in, LOCK_EX); }
static long c_setlkw(void) { struct flock whole = { .l_type = F_WRLCK }; return syscall(SYS_fcntl, in, F_SETLKW, &whole); }
static long c_msgrcv(void) { return syscall(SYS_msgrcv, set, buffer, 8, 0, 0); }
static long c_mq_receive(void) { return syscall(SYS_mq_timedreceive, in, buffer, sizeof buffer, NULL, NULL); }
static struct { unsigned short number; short by, flags; } down = { 0, -1, 0 };
static long c_semop(void) { return syscall(SYS_semop, set, &down, 1); }
static long c_semtimedop(void) { return syscall(SYS_semtimedop, set, &down, 1, &long_time); }
static long c_io_getevents(void) { struct io_event done; return syscall(SYS_io_getevents, aio, 1, 1, &done, NULL); }
static long t_nanosleep(void) { struct timespec rest; return syscall(SYS_nanosleep, &short_time, &rest); }
static long t_clock_nanosleep(void) { return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &short_time, NULL); }
static long t_absolute(void) { return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL); }
static long t_poll(void) { return POLL(NULL, 0, SHORT * 1000); }
static long t_select(void) { struct timeval time = { SHORT, 0 }; return SELECT(0, NULL, NULL, NULL, &time); }
static long t_futex(void) { return syscall(SYS_futex, word, FUTEX_WAIT, 0, &short_time, NULL, 0); }
static long t_timerfd(void) {
    struct itimerspec once = { .it_value = until };
    if (!set) { set = timerfd_create(CLOCK_MONOTONIC, 0); timerfd_settime(set, TFD_TIMER_ABSTIME, &once, NULL); }
    return syscall(SYS_read, set, buffer, 8);
}

static const struct { const char *name; void (*before)(void), (*held)(void), (*event)(void); long (*call)(void); } calls[] = {
    { "read", a_pipe, NULL, writes, c_read },
    { "read_eventfd", an_eventfd, NULL, writes, c_read },
    { "read_signalfd", a_signalfd, NULL, signals, c_read },
    { "read_inotify", an_inotify, NULL, creates, c_read },
    { "write", a_full_pipe, NULL, drains, c_write },
    { "open", a_fifo, NULL, opens, c_open },
    { "recv", sockets, NULL, writes, c_recv },
    { "recv_with_timeout", sockets_with_timeouts, NULL, writes, c_recv },
    { "send_with_timeout", full_socket_with_timeouts, NULL, drains_out, c_send },
    { "accept", listening, NULL, connects, c_accept },
    { "accept_with_timeout", listening_with_timeouts, NULL, connects, c_accept },
    { "poll", a_pipe, NULL, writes, c_poll },
    { "ppoll", a_pipe, NULL, writes, c_ppoll },
    { "ppoll_signal", a_pipe, NULL, signals, c_ppoll },
    { "select", a_pipe, NULL, writes, c_select },
    { "pselect", a_pipe, NULL, writes, c_pselect },
    { "pselect_signal", a_pipe, NULL, signals, c_pselect },
    { "epoll_wait", an_epoll, NULL, writes, c_epoll_wait },
    { "epoll_wait_with_timeout", an_epoll, NULL, writes, c_epoll_wait_timeout },
    { "epoll_pwait", an_epoll, NULL, writes, c_epoll_pwait },
    { "futex", NULL, NULL, wakes, c_futex },
    { "futex_with_timeout", NULL, NULL, wakes, c_futex_timeout },
    { "sigtimedwait", NULL, NULL, signals, c_sigtimedwait },
    { "sigwaitinfo", NULL, NULL, signals, c_sigwaitinfo },
    { "sigsuspend", NULL, NULL, signals, c_sigsuspend },
    { "pause", NULL, NULL, signals, c_pause },
    { "wait4", NULL, NULL, ends, c_wait4 },
    { "waitid", NULL, NULL, ends, c_waitid },
    { "flock", a_lock, locks, ends, c_flock },
    { "fcntl_setlkw", a_lock, locks_record, ends, c_setlkw },
    { "msgrcv", a_message_queue, NULL, sends_message, c_msgrcv },
    { "mq_receive", a_posix_queue, NULL, sends_posix, c_mq_receive },
    { "semop", a_semaphore, NULL, posts, c_semop },
    { "semtimedop", a_semaphore, NULL, posts, c_semtimedop },
    { "io_getevents", an_aio, NULL, writes, c_io_getevents },
    { "timed_nanosleep", NULL, NULL, NULL, t_nanosleep },
    { "timed_clock_nanosleep", NULL, NULL, NULL, t_clock_nanosleep },
    { "timed_clock_nanosleep_absolute", NULL, NULL, NULL, t_absolute },
    { "timed_poll", NULL, NULL, NULL, t_poll },
    { "timed_select", NULL, NULL, NULL, t_select },
    { "timed_futex", NULL, NULL, NULL, t_futex },
    { "timed_timerfd", NULL, NULL, NULL, t_timerfd },
};

static void wait_for_a_line(void) { char c = 0; while (read(0, &c, 1) == 1 && c != '\n') { } }

int main(int count, char **arguments) {
    unsigned i = 0;
    struct sigaction action = { .sa_handler = handler };
    struct timespec began, ended;
    long result, milliseconds;
    int ready[2], error;
    char c;

    setvbuf(stdout, NULL, _IONBF, 0);
    while (count < 2 || strcmp(calls[i].name, arguments[1]))
        need(++i < sizeof calls / sizeof *calls, "name");
    program = getpid();
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sigaction(SIGUSR1, &action, NULL);
    if (calls[i].call != c_pause)
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, &mask_usr1, NULL, 8);
    if (calls[i].before)
        calls[i].before();
    if (calls[i].event) {
        need(!pipe(ready), "pipe");
        helper = fork();
        if (!helper) {
            if (calls[i].held)
                calls[i].held();
            need(write(ready[1], "r", 1) == 1, "ready");
            wait_for_a_line();
            calls[i].event();
            _exit(0);
        }
        need(read(ready[0], &c, 1) == 1, "ready");
    } else {
        wait_for_a_line();
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    until = (struct timespec){ began.tv_sec + SHORT, began.tv_nsec };
    for (;;) {
        unsigned long long mask;
        result = calls[i].call();
        error = result < 0 ? errno : 0;
        clock_gettime(CLOCK_MONOTONIC, &ended);
        milliseconds = (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000;
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
        printf("%ld %s signals=%d blocked=%llx milliseconds=%ld\n", result, error ? strerrorname_np(error) : "0", (int)handled, mask, milliseconds);
        if (error != EINTR || handled)
            break;
    }
    for (;;)
        pause();
}
