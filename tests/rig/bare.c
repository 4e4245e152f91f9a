/* bare [without-vdso]: answers lines. No libc, no vDSO: nothing but system calls made by hand (x86-64, aarch64). */

#ifdef __aarch64__
static long call(long number, long first, long second, long third) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = first, x1 __asm__("x1") = second, x2 __asm__("x2") = third;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

enum { READ = 63, WRITE = 64, MUNMAP = 215, EXIT = 93 };
__asm__(".globl _start\n_start: mov x0, sp\n b begin");
#else
static long call(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
    return result;
}

enum { READ = 0, WRITE = 1, MUNMAP = 11, EXIT = 60 };
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin");
#endif
enum { AT_SYSINFO_EHDR = 33, VDSO_AT_MOST = 16384 };

__attribute__((used)) static void begin(long *stack) {
    char line[256];
    long *vector = stack + 1 + stack[0] + 1;

    while (*vector++) { } /* past the environment */
    if (stack[0] > 1)
        for (; vector[0]; vector += 2)
            if (vector[0] == AT_SYSINFO_EHDR)
                call(MUNMAP, vector[1], VDSO_AT_MOST, 0);
    for (;;) {
        long size = call(READ, 0, (long)line, sizeof line);
        if (size <= 0)
            call(EXIT, 1, 0, 0);
        call(WRITE, 1, (long)"answer ", 7);
        call(WRITE, 1, (long)line, size);
    }
}
