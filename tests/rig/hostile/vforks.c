// Its first thread waits in vfork(2) for ever, in uninterruptible sleep. At SIGUSR1 another one makes zombies until nothing can be started any more.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static void *fill(void *unused) {
  (void)unused;
  sigset_t told;
  int number;
  sigemptyset(&told);
  sigaddset(&told, SIGUSR1);
  sigwait(&told, &number);
  for (int refused = 0; refused < 10;) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    refused = pid < 0 ? refused + 1 : 0;
    if (pid < 0) usleep(10000);
  }
  if (write(1, "full\n", 5) != 5) _exit(2);
  for (;;) pause();
}

int main(void) {
  sigset_t told;
  sigemptyset(&told);
  sigaddset(&told, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &told, 0);
  pthread_t thread;
  pthread_create(&thread, 0, fill, 0);
  if (write(1, "ready\n", 6) != 6) return 2;
  if (vfork() == 0)
    for (;;) pause();
}
