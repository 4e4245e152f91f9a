/* Calculates for ever and checks, some thousand times a second, that no register of its own has changed:
 * general, x87, SSE and AVX, the flags among them the direction flag, and the red zone below its stack pointer.
 * Once one has, it says "broken". SIGUSR1 is answered by "well". */
#include <signal.h>
#include <stdint.h>
#include <string.h>
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

struct seen {
    uint64_t general[12], red_zone[2], flags;
    double x87[4];
    uint8_t vector[4][32];
};

/* Everything is set, left alone for a while, and stored; no instruction in between but the loop's. */
static void round_of(struct seen *seen, const struct seen *given)
{
    __asm__ volatile(
        "push %%rbp\n\t"
        "push %[seen]\n\t"
        "mov %[given], %%rax\n\t"
        "fninit\n\t"
        "fldl 120(%%rax)\n\tfldl 128(%%rax)\n\tfldl 136(%%rax)\n\tfldl 144(%%rax)\n\t"
        "vmovdqu 152(%%rax), %%ymm0\n\tvmovdqu 184(%%rax), %%ymm5\n\tvmovdqu 216(%%rax), %%ymm10\n\tvmovdqu 248(%%rax), %%ymm15\n\t"
        "mov 96(%%rax), %%rcx\n\tmov %%rcx, -8(%%rsp)\n\tmov 104(%%rax), %%rcx\n\tmov %%rcx, -120(%%rsp)\n\t"
        "mov 0(%%rax), %%rbx\n\tmov 16(%%rax), %%rdx\n\tmov 24(%%rax), %%rsi\n\tmov 32(%%rax), %%rdi\n\t"
        "mov 40(%%rax), %%rbp\n\tmov 48(%%rax), %%r8\n\tmov 56(%%rax), %%r9\n\tmov 64(%%rax), %%r10\n\tmov 72(%%rax), %%r11\n\t"
        "mov 80(%%rax), %%r12\n\tmov 88(%%rax), %%r13\n\tmov 8(%%rax), %%r14\n\t"
        "mov $400000, %%ecx\n\t"
        "std\n\t"
        "stc\n"
        "1:\n\t"
        "lea -1(%%rcx), %%ecx\n\t" /* changes no flag */
        "jrcxz 2f\n\t"
        "jmp 1b\n"
        "2:\n\t"
        "mov (%%rsp), %%rax\n\t"
        "mov %%rbx, 0(%%rax)\n\tmov %%r14, 8(%%rax)\n\tmov %%rdx, 16(%%rax)\n\tmov %%rsi, 24(%%rax)\n\tmov %%rdi, 32(%%rax)\n\t"
        "mov %%rbp, 40(%%rax)\n\tmov %%r8, 48(%%rax)\n\tmov %%r9, 56(%%rax)\n\tmov %%r10, 64(%%rax)\n\tmov %%r11, 72(%%rax)\n\t"
        "mov %%r12, 80(%%rax)\n\tmov %%r13, 88(%%rax)\n\t"
        "mov -8(%%rsp), %%rcx\n\tmov %%rcx, 96(%%rax)\n\tmov -120(%%rsp), %%rcx\n\tmov %%rcx, 104(%%rax)\n\t"
        "pushfq\n\tpopq 112(%%rax)\n\tcld\n\t"
        "fstpl 144(%%rax)\n\tfstpl 136(%%rax)\n\tfstpl 128(%%rax)\n\tfstpl 120(%%rax)\n\t"
        "vmovdqu %%ymm0, 152(%%rax)\n\tvmovdqu %%ymm5, 184(%%rax)\n\tvmovdqu %%ymm10, 216(%%rax)\n\tvmovdqu %%ymm15, 248(%%rax)\n\t"
        "vzeroupper\n\t"
        "pop %%rax\n\t"
        "pop %%rbp\n\t"
        :
        : [seen] "r"(seen), [given] "r"(given)
        : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc",
          "xmm0", "xmm5", "xmm10", "xmm15", "st", "st(1)", "st(2)", "st(3)");
}

int main(void)
{
    struct seen given, seen;
    memset(&given, 0, sizeof given);
    for (int at = 0; at < 12; at++)
        given.general[at] = 0x0123456789abcdefULL * (at + 1);
    given.red_zone[0] = 0x5a5a5a5a5a5a5a5aULL;
    given.red_zone[1] = 0xa5a5a5a5a5a5a5a5ULL;
    given.flags = 0x400 | 0x1; /* direction, carry */
    for (int at = 0; at < 4; at++)
        given.x87[at] = 1.5 * (at + 1);
    for (int at = 0; at < 128; at++)
        given.vector[at / 32][at % 32] = (uint8_t)(at * 7 + 3);
    signal(SIGUSR1, ask);
    say("ready\n");
    for (;;) {
        memset(&seen, 0, sizeof seen);
        round_of(&seen, &given);
        seen.flags &= 0x401;
        if (memcmp(&seen, &given, sizeof seen))
            say("broken\n");
        if (asked) {
            asked = 0;
            say("well\n");
        }
    }
}
