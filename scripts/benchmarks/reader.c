/* Reads at random places of a file, and tells how many seconds that took.

       reader FILE SIZE COUNT THREADS

   COUNT reads of SIZE bytes, shared out to THREADS. In C, because four threads of Python would
   wait for each other more than for the file. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static size_t size;
static long each, blocks;
static pthread_barrier_t ready;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *reading(void *argument) {
    uint64_t state = 0x9E3779B97F4A7C15u * ((uintptr_t)argument + 1);
    char *buffer = malloc(size);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || !buffer) die(path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    pthread_barrier_wait(&ready);
    for (long number = 0; number < each; number++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        off_t place = (off_t)(state % (uint64_t)blocks) * (off_t)size;
        if (pread(fd, buffer, size, place) != (ssize_t)size) die(path);
    }
    pthread_barrier_wait(&ready);
    close(fd);
    free(buffer);
    return NULL;
}

int main(int count, char **words) {
    if (count != 5) return 2;
    path = words[1], size = strtoul(words[2], NULL, 10);
    int threads = atoi(words[4]);
    each = atol(words[3]) / threads;
    struct stat found;
    if (stat(path, &found) || size == 0 || (blocks = found.st_size / (off_t)size) == 0) die(path);
    pthread_barrier_init(&ready, NULL, (unsigned)threads + 1);
    pthread_t *started = calloc((size_t)threads, sizeof *started);
    for (intptr_t number = 0; number < threads; number++)
        if (pthread_create(&started[number], NULL, reading, (void *)number)) die("thread");
    struct timespec begin, end;
    pthread_barrier_wait(&ready);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pthread_barrier_wait(&ready);
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (int number = 0; number < threads; number++) pthread_join(started[number], NULL);
    printf("%.9f\n", (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
