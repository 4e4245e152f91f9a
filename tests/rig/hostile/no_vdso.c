/* Unmaps its vDSO and calculates for ever: no instruction that enters the kernel is found where one is looked for.
 * Built with -DOLD_CALL it keeps the vDSO and sleeps by the 32-bit entry (int 0x80) of a 64-bit program; SIGUSR1 gets an answer. */
#define _GNU_SOURCE
#include <elf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

static void answer(int number)
{
    (void)number;
    if (write(1, "well\n", 5) != 5)
        _exit(1);
}

#ifndef OLD_CALL
static void unmap_vdso(void)
{
    char line[256];
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            munmap((void *)start, end - start);
    fclose(maps);
}
#endif

int main(void)
{
    signal(SIGUSR1, answer);
#ifndef OLD_CALL
    unmap_vdso();
#endif
    if (write(1, "ready\n", 6) != 6)
        return 1;
    for (;;) {
#ifdef OLD_CALL
        static struct { int32_t seconds, nanoseconds; } *time; /* has to lie below 4 GiB */
        long result = 162; /* nanosleep */
        if (!time)
            time = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        time->seconds = 1000;
        __asm__ volatile("int $0x80" : "+a"(result) : "b"(time), "c"(0) : "memory", "r8", "r9", "r10", "r11");
        if (result != -4) { /* EINTR, after SIGUSR1 */
            if (write(1, "woken\n", 6) != 6)
                return 1;
        }
#endif
        __asm__ volatile("");
    }
}
