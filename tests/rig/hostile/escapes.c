/* A program under a seccomp filter of its own that tries to have a tracer set that aside for a call of its choice.
 *
 * escapes PLACE FORBIDDEN PATH: its filter forbids mkdir(2) and io_uring_setup(2). The first thread waits in PLACE; the second changes the
 * instruction that enters the kernel all the time, between itself, a jump to the forbidden call, and (PLACE int80) the 32-bit entry.
 *   own       epoll_wait(2), which returns EINTR, in a page that can be written
 *   restarts  pause(2), which restarts, in such a page
 *   vdso      calculates; the instruction in the vDSO is the one that changes
 *   int80     as restarts, with int 0x80 in between: the number of waitid(2) is another call there
 * FORBIDDEN: mkdir (of PATH) or io_uring. Says "escaped" when the forbidden call has come through, once. SIGUSR1 is answered by "well". */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYSCALL 0x050f
#define INT80 0x80cd
#define JUMP 0x10eb /* 16 bytes on */

static volatile uint16_t *at;
static uint16_t others[2];
static long long parameters[15]; /* struct io_uring_params */

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

static void escaped(void)
{
    say("escaped\n");
    _exit(9);
}

static __attribute__((noreturn)) void *flip(void *unused)
{
    (void)unused;
    for (unsigned turn = 0; 1; turn++) {
        *at = SYSCALL;
        for (volatile int wait = 0; wait < 20000; wait++)
            ;
        *at = others[turn & 1];
        for (volatile int wait = 0; wait < 20000; wait++)
            ;
    }
}

static uint8_t *put(uint8_t *to, const char *code, size_t size, uint64_t value, size_t bytes)
{
    memcpy(to, code, size);
    memcpy(to + size, &value, bytes);
    return to + size + bytes;
}

/* mov the call's number and first arguments, enter the kernel; other places call it as a function */
static uint8_t *call(uint8_t *to, long number, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth)
{
    to = put(to, "\x48\xbf", 2, first, 8);
    to = put(to, "\x48\xbe", 2, second, 8);
    to = put(to, "\x48\xba", 2, third, 8);
    to = put(to, "\x49\xba", 2, fourth, 8);
    return put(to, "\xb8", 1, (uint32_t)number, 4);
}

/* After the forbidden call: escaped() where its result is not negative, else on to that address. */
static uint8_t *judge(uint8_t *to, uint8_t *on)
{
    memcpy(to, "\x0f\x05\x48\x85\xc0\x78\x0c", 7); /* syscall; test rax, rax; js 12 bytes on */
    to = put(to + 7, "\x48\xb8", 2, (uint64_t)escaped, 8);
    memcpy(to, "\xff\xe0", 2); /* jmp *rax */
    to = put(to + 2, "\x48\xb8", 2, (uint64_t)on, 8);
    memcpy(to, "\xff\xe0", 2);
    return to + 2;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    int in_vdso = !strcmp(words[1], "vdso"), is_mkdir = !strcmp(words[2], "mkdir");
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    signal(SIGUSR1, answer);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 3;
    if (mkdir(words[3], 0700) == 0 || syscall(SYS_io_uring_setup, 8, parameters) >= 0)
        return 4;
    uint8_t *page = mmap(0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *to = page;
    static struct epoll_event event;
    if (!strcmp(words[1], "own"))
        to = call(to, SYS_epoll_wait, epoll_create1(0), (uint64_t)&event, 1, -1);
    else if (!in_vdso)
        to = call(to, SYS_pause, 0, 0, 0, 0);
    uint8_t *jump, *forbidden;
    if (in_vdso) {
        memcpy(to, "\xf3\x90\xeb\xfc", 4); /* pause; jmp back */
        uint8_t *vdso = (uint8_t *)getauxval(AT_SYSINFO_EHDR);
        uint8_t *found = memmem(vdso, 4096, "\x0f\x05", 2);
        if (!found || mprotect((void *)((uintptr_t)found & -4096), 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
            return 5;
        at = (volatile uint16_t *)found;
        jump = found + 2 + 16;
        forbidden = page + 1024;
        jump = put(jump, "\x48\xb8", 2, (uint64_t)forbidden, 8);
        memcpy(jump, "\xff\xe0", 2);
    } else {
        while (((uintptr_t)to & 63) != 32)
            *to++ = 0x90;
        at = (volatile uint16_t *)to;
        memcpy(to, "\x0f\x05", 2);
        to = put(to + 2, "\x48\xb8", 2, (uint64_t)page, 8);
        memcpy(to, "\xff\xe0", 2);
        forbidden = (uint8_t *)at + 2 + 16;
    }
    uint8_t *end = is_mkdir ? call(forbidden, SYS_mkdir, (uint64_t)words[3], 0700, 0, 0)
                            : call(forbidden, SYS_io_uring_setup, 8, (uint64_t)parameters, 0, 0);
    judge(end, page);
    others[0] = JUMP;
    others[1] = !strcmp(words[1], "int80") ? INT80 : JUMP;
    pthread_t thread;
    say("ready\n");
    if (pthread_create(&thread, 0, flip, 0))
        return 6;
    ((void (*)(void))page)();
}
