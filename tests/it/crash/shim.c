/* Lets calls of the C library fail that a program makes on the files below one directory: the n-th of a kind, or
 * all from then on. The test tells it what by opening paths that no file has: see engine_faults.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, SYNC, RANGE, TRUNCATE, RENAME, UNLINK, KINDS };

static char root[4096];
static int kind = -1, error_number, persists, shortened;
static long when, counts[KINDS], struck;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The test tells its plan by opening a path that no file has:
 * /strongroom-fault/<kind>/<n>/<errno>/<persists>/<short>/<directory> */
static int take_plan(const char *path) {
    static const char mark[] = "/strongroom-fault/";
    int offset = 0;
    if (strncmp(path, mark, sizeof mark - 1) != 0)
        return 0;
    pthread_mutex_lock(&lock);
    if (sscanf(path + sizeof mark - 1, "%d/%ld/%d/%d/%d%n", &kind, &when, &error_number, &persists, &shortened,
               &offset) == 5)
        snprintf(root, sizeof root, "%s", path + sizeof mark - 1 + offset);
    memset(counts, 0, sizeof counts);
    struck = 0;
    pthread_mutex_unlock(&lock);
    return 1;
}

/* Its answers: whether the fault has struck, and how many calls of the kind there were. */
static int answer(const char *path) {
    return strcmp(path, "/strongroom-struck") == 0;
}

static int below(const char *path) {
    size_t length = strlen(root);
    return length > 0 && strncmp(path, root, length) == 0;
}

static int of_descriptor(int fd) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return below(path);
}

static int strikes(int what) {
    int hit;
    if (what != kind)
        return 0;
    pthread_mutex_lock(&lock);
    counts[what]++;
    hit = counts[what] == when || (persists && counts[what] > when);
    if (hit)
        struck++;
    pthread_mutex_unlock(&lock);
    if (hit)
        errno = error_number;
    return hit;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(const char *path, int flags, mode_t mode) {
    if (take_plan(path) || answer(path)) {
        errno = struck > 0 ? EEXIST : ENOENT;
        return -1;
    }
    if (below(path) && strikes(OPEN))
        return -1;
    return REAL(open64)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    return opened(path, flags, mode);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
    if (kind == READ && of_descriptor(fd) && strikes(READ)) {
        if (!shortened)
            return -1;
        count = count / 2;
    }
    return REAL(pread64)(fd, bytes, count, offset);
}

ssize_t read(int fd, void *bytes, size_t count) {
    if (kind == READ && of_descriptor(fd) && strikes(READ)) {
        if (!shortened)
            return -1;
        count = count / 2;
    }
    return REAL(read)(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (kind == WRITE && of_descriptor(fd) && strikes(WRITE)) {
        if (!shortened)
            return -1;
        count = count > 1 ? count / 2 : count;
    }
    return REAL(pwrite64)(fd, bytes, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (kind == WRITE && of_descriptor(fd) && strikes(WRITE)) {
        if (!shortened)
            return -1;
        count = count > 1 ? count / 2 : count;
    }
    return REAL(write)(fd, bytes, count);
}

int fsync(int fd) {
    if (kind == SYNC && of_descriptor(fd) && strikes(SYNC))
        return -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (kind == SYNC && of_descriptor(fd) && strikes(SYNC))
        return -1;
    return REAL(fdatasync)(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    if (kind == RANGE && of_descriptor(fd) && strikes(RANGE))
        return -1;
    return REAL(sync_file_range)(fd, offset, count, flags);
}

int ftruncate64(int fd, off64_t length) {
    if (kind == TRUNCATE && of_descriptor(fd) && strikes(TRUNCATE))
        return -1;
    return REAL(ftruncate64)(fd, length);
}

int rename(const char *from, const char *to) {
    if (below(from) && strikes(RENAME))
        return -1;
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (below(path) && strikes(UNLINK))
        return -1;
    return REAL(unlink)(path);
}
