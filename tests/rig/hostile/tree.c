// tree SEED: grows a random tree of processes below a subreaper. Each writes "its PID, the PID of whoever forked it" to descriptor 3, which all have closed
// once the tree has grown. They fork, from threads too, exit, call setsid(2), become subreapers, execute themselves anew. None ever waits.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char *self;
static void live(unsigned seed, int depth, int budget, int told);
struct branch { unsigned seed; int depth, budget, told; };

static void *grow(void *argument) {
  struct branch *branch = argument;
  int told = branch->told;
  pid_t forker = getpid();
  if (fork() == 0) {
    char line[64];
    int length = snprintf(line, sizeof line, "%d %d\n", getpid(), forker);
    if (write(told, line, length) != length) _exit(2);
    live(branch->seed, branch->depth, branch->budget, told);
  }
  return NULL;
}

static void live(unsigned seed, int depth, int budget, int told) {
  unsigned dice = seed;
  for (int steps = 1 + rand_r(&dice) % 4; steps > 0; steps--) {
    int what = rand_r(&dice) % 100;
    struct branch branch = {rand_r(&dice), depth + 1, budget - 1, told};
    if (what < 50 && budget > 0 && depth < 5) {
      budget--;
      pthread_t thread;
      if (what < 15 && pthread_create(&thread, NULL, grow, &branch) == 0)
        pthread_join(thread, NULL);
      else
        grow(&branch);
    } else if (what < 70)
      setsid();
    else if (what < 78)
      prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    else if (what < 82)
      usleep(11000);  // longer than a clock tick
    else if (what < 88 && depth > 0) {
      char words[4][16];
      snprintf(words[0], 16, "%u", rand_r(&dice));
      snprintf(words[1], 16, "%d", depth);
      snprintf(words[2], 16, "%d", budget);
      execl(self, self, words[0], words[1], words[2], NULL);
      _exit(3);
    }
  }
  if (depth > 0 && rand_r(&dice) % 100 < 75) _exit(0);
  close(told);
  for (;;) pause();
}

int main(int count, char **words) {
  self = words[0];
  if (count > 2) live(atoi(words[1]), atoi(words[2]), atoi(words[3]), 3);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  live(atoi(words[1]), 0, 8, 3);
}
