/* Makes one system call after another, fast ones (argument "getppid") or sleeps (argument "nanosleep"), and checks after each
 * that no register but the result has changed, general or vector, nor the signal mask. Once one has, it says "broken".
 * SIGUSR1 is answered by "well". */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void ask(int number)
{
    (void)number;
    asked = 1;
}

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(1);
}

#ifdef __aarch64__
#define GENERAL 31
#define VECTORS 32
#define VECTOR_BYTES 16
#define RESULT 0
#define NUMBER 8
#define FIRST_ARGUMENT 0
#define SECOND_ARGUMENT 1
/* the kernel's, once it has restarted a sleep: restart_syscall(2) */
#define MAY_CHANGE(at) ((at) == RESULT || (at) == NUMBER)
__asm__(
    ".globl round_of\n"
    "round_of:\n"
    "stp x29, x30, [sp, #-176]!\n stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n"
    "stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n str x0, [sp, #160]\n"
    "mov x30, x1\n add x29, x1, #256\n"
    ".irp n, 0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30\n"
    "ldr q\\n, [x29, #(16 * \\n)]\n"
    ".endr\n"
    ".irp n, 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31\n"
    "ldr q\\n, [x29, #(16 * \\n)]\n"
    ".endr\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n"
    "ldr x\\n, [x30, #(8 * \\n)]\n"
    ".endr\n"
    "svc #0\n"
    "str x0, [sp, #168]\n ldr x0, [sp, #160]\n"
    ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n"
    "str x\\n, [x0, #(8 * \\n)]\n"
    ".endr\n"
    "ldr x1, [sp, #168]\n str x1, [x0]\n add x0, x0, #256\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "str q\\n, [x0, #(16 * \\n)]\n"
    ".endr\n"
    "ldp d14, d15, [sp, #144]\n ldp d12, d13, [sp, #128]\n ldp d10, d11, [sp, #112]\n ldp d8, d9, [sp, #96]\n"
    "ldp x27, x28, [sp, #80]\n ldp x25, x26, [sp, #64]\n ldp x23, x24, [sp, #48]\n ldp x21, x22, [sp, #32]\n"
    "ldp x19, x20, [sp, #16]\n ldp x29, x30, [sp], #176\n ret\n");
#else
#define GENERAL 15 /* rax rbx rcx rdx rsi rdi rbp r8 to r15 */
#define VECTORS 16
#define VECTOR_BYTES 32
#define RESULT 0
#define NUMBER 0
#define FIRST_ARGUMENT 5
#define SECOND_ARGUMENT 4
#define MAY_CHANGE(at) ((at) == RESULT || (at) == 2 || (at) == 10) /* syscall itself sets rcx and r11 */
__asm__(
    ".globl round_of\n"
    "round_of:\n"
    "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdi\n"
    "lea 256(%rsi), %rax\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "vmovdqu (32 * \\n)(%rax), %ymm\\n\n"
    ".endr\n"
    "mov %rsi, %rax\n"
    "mov 8(%rax), %rbx\n mov 24(%rax), %rdx\n mov 32(%rax), %rsi\n mov 40(%rax), %rdi\n mov 48(%rax), %rbp\n mov 56(%rax), %r8\n"
    "mov 64(%rax), %r9\n mov 72(%rax), %r10\n mov 88(%rax), %r12\n mov 96(%rax), %r13\n mov 104(%rax), %r14\n mov 112(%rax), %r15\n"
    "mov (%rax), %rax\n"
    "syscall\n"
    "mov (%rsp), %rcx\n"
    "mov %rax, (%rcx)\n mov %rbx, 8(%rcx)\n mov %rdx, 24(%rcx)\n mov %rsi, 32(%rcx)\n mov %rdi, 40(%rcx)\n mov %rbp, 48(%rcx)\n"
    "mov %r8, 56(%rcx)\n mov %r9, 64(%rcx)\n mov %r10, 72(%rcx)\n mov %r12, 88(%rcx)\n mov %r13, 96(%rcx)\n mov %r14, 104(%rcx)\n"
    "mov %r15, 112(%rcx)\n add $256, %rcx\n"
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "vmovdqu %ymm\\n, (32 * \\n)(%rcx)\n"
    ".endr\n"
    "vzeroupper\n"
    "pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
#endif

struct registers {
    uint64_t general[32];
    uint8_t vectors[VECTORS][VECTOR_BYTES];
};
void round_of(struct registers *seen, const struct registers *given);

int main(int words, char **word)
{
    static struct registers given, seen;
    static struct timespec pause = {0, 2000000};
    uint64_t expected;
    sigset_t mask, now;
    int sleeps = words > 1 && !strcmp(word[1], "nanosleep");
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_SETMASK, &mask, 0);
    for (int at = 0; at < 32; at++)
        given.general[at] = 0x0123456789abcdefULL * (at + 1);
    for (int at = 0; at < VECTORS * VECTOR_BYTES; at++)
        given.vectors[at / VECTOR_BYTES][at % VECTOR_BYTES] = (uint8_t)(at * 7 + 3);
    given.general[NUMBER] = sleeps ? SYS_nanosleep : SYS_getppid;
    if (sleeps) {
        given.general[FIRST_ARGUMENT] = (uint64_t)&pause;
        given.general[SECOND_ARGUMENT] = 0;
    }
    expected = sleeps ? 0 : getppid();
    signal(SIGUSR1, ask);
    say("ready\n");
    for (;;) {
        memset(&seen, 0, sizeof seen);
        round_of(&seen, &given);
        if (seen.general[RESULT] != expected && !(asked && (int64_t)seen.general[RESULT] == -EINTR)) {
            char text[64];
            snprintf(text, sizeof text, "broken result %lld\n", (long long)seen.general[RESULT]);
            say(text);
        }
        for (int at = 0; at < GENERAL; at++)
            if (!MAY_CHANGE(at) && seen.general[at] != given.general[at])
                say("broken general\n");
        if (memcmp(seen.vectors, given.vectors, sizeof seen.vectors))
            say("broken vectors\n");
        sigprocmask(SIG_SETMASK, 0, &now);
        if (memcmp(&mask, &now, 8))
            say("broken mask\n");
        if (asked) {
            asked = 0;
            say("well\n");
        }
    }
}
