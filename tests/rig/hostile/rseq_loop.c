/* Works in restartable sequences (rseq(2)) that it registers itself: GLIBC_TUNABLES=glibc.pthread.rseq=0.
 * Argument 1: turns inside a sequence, argument 2: turns outside, 0 for never. Its invariant: a sequence that was left
 * never goes on. Built with -DIN_A_FILE it keeps what tells the kernel about them in a file. The kernel takes rseq_cs away when it finds the program elsewhere; seen before the commit, that is "broken".
 * SIGUSR1 is answered by "well" between two sequences; a sequence that a signal interrupts is aborted. */
#define _GNU_SOURCE
#include <linux/rseq.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIGNATURE 0x53053053

static struct rseq *area; /* in memory of no file, as the C library has it */
static volatile sig_atomic_t asked;
static volatile uint64_t committed, aborted;

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

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    uint64_t inside = strtoull(words[1], 0, 10), outside = strtoull(words[2], 0, 10);
    struct sigaction action = {.sa_handler = ask};
    sigaction(SIGUSR1, &action, 0);
#ifdef IN_A_FILE
    int file = memfd_create("rseq", 0);
    if (file < 0 || ftruncate(file, 4096))
        return 2;
    area = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
#else
    area = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#endif
    if (syscall(SYS_rseq, area, sizeof *area, 0, SIGNATURE)) {
        say("no rseq\n");
        return 1;
    }
    say("ready\n");
    for (;;) {
        uint64_t turns = inside, end = 0;
        __asm__ volatile(
            ".pushsection .rodata.cs, \"a\"\n\t"
            ".balign 32\n"
            "3:\n\t"
            ".long 0, 0\n\t"
            ".quad 1f, 2f - 1f, 4f\n\t"
            ".popsection\n\t"
            "lea 3b(%%rip), %%rax\n\t"
            "mov %%rax, %[cs]\n"
            "1:\n\t"
            "test %[outside], %[outside]\n\t"
            "jz 1b\n\t" /* never leaves */
            "dec %[turns]\n\t"
            "jnz 1b\n\t"
            "mov $2, %[end]\n\t"
            "cmpq $0, %[cs]\n\t"
            "je 2f\n\t"
            "mov $1, %[end]\n\t"
            "incq %[committed]\n"
            "2:\n\t"
            "jmp 5f\n\t"
            ".long 0x53053053\n" /* SIGNATURE */
            "4:\n\t"
            "mov $3, %[end]\n\t"
            "incq %[aborted]\n"
            "5:\n\t"
            : [turns] "+r"(turns), [end] "+r"(end), [cs] "+m"(area->rseq_cs), [committed] "+m"(committed), [aborted] "+m"(aborted)
            : [outside] "r"(outside)
            : "rax", "memory", "cc");
        if (outside)
            area->rseq_cs = 0;
        if (end == 2)
            say("broken\n");
        for (volatile uint64_t turn = 0; turn < outside; turn++)
            ;
        if (asked) {
            asked = 0;
            say("well\n");
        }
    }
}
