/* Reads at places spread over a file for a while, and tells how many seconds one read took.

       reader FILE SIZE SECONDS THREADS

   Reads of SIZE bytes by THREADS, until the time is up or every place was read: the second time
   the kernel would have it. In C, because four threads of Python would wait for each other more
   than for the file. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Reads between two looks at the clock. */
enum { BATCH = 32 };

static const char *path;
static size_t size;
static long blocks, stride, threads;
static double duration;
static pthread_barrier_t all;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec found;
    clock_gettime(CLOCK_MONOTONIC, &found);
    return (double)found.tv_sec + (double)found.tv_nsec / 1e9;
}

static long divisor(long one, long other) { return other ? divisor(other, one % other) : one; }

static void *reading(void *argument) {
    long first = (intptr_t)argument, number = 0;
    char *buffer = malloc(size);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || !buffer) die(path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    pthread_barrier_wait(&all);
    for (double end = now() + duration; now() < end && first + number * threads < blocks;) {
        for (int left = BATCH; left && first + number * threads < blocks; left--, number++) {
            long block = (first + number * threads) * stride % blocks;
            if (pread(fd, buffer, size, (off_t)block * (off_t)size) != (ssize_t)size) die(path);
        }
    }
    close(fd);
    free(buffer);
    return (void *)(intptr_t)number;
}

int main(int count, char **words) {
    if (count != 5) return 2;
    path = words[1], size = strtoul(words[2], NULL, 10);
    duration = atof(words[3]), threads = atol(words[4]);
    struct stat found;
    if (stat(path, &found) || !size || (blocks = found.st_size / (off_t)size) == 0) die(path);
    for (stride = (long)((double)blocks * 0.618) | 1; divisor(stride, blocks) != 1;) stride++;
    pthread_barrier_init(&all, NULL, (unsigned)threads + 1);
    pthread_t *started = calloc((size_t)threads, sizeof *started);
    for (intptr_t number = 0; number < threads; number++)
        if (pthread_create(&started[number], NULL, reading, (void *)number)) die("thread");
    pthread_barrier_wait(&all);
    double begin = now();
    long reads = 0;
    for (long number = 0; number < threads; number++) {
        void *done;
        pthread_join(started[number], &done);
        reads += (intptr_t)done;
    }
    printf("%.12f\n", (now() - begin) / (double)reads);
    return 0;
}
