// Lets system calls on the database's files fail while a control file says so. Loaded with LD_PRELOAD.
//
// DISK_FAULTS names the control file. It holds "CALLS ERRNO PERCENT": which calls fail (write, sync, truncate or all), with
// which error, and how often. Without the file no call fails.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);

// Whether a call of this kind fails now; sets errno.
static int fails(int fd, const char *kind) {
    const char *control = getenv("DISK_FAULTS");
    if (!control) return 0;
    char link[64], path[4096], text[64], calls[16];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, "pool.db") || strstr(path, ".lock")) return 0;
    int file = open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    int error, percent;
    if (sscanf(text, "%15s %d %d", calls, &error, &percent) != 3) return 0;
    if (strcmp(calls, "all") && strcmp(calls, kind)) return 0;
    if (random() % 100 >= percent) return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!real_write) real_write = REAL(write);
    return fails(fd, "write") ? -1 : real_write(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd, "write") ? -1 : REAL(pwrite)(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return fails(fd, "write") ? -1 : REAL(pwrite64)(fd, bytes, count, at);
}

int fsync(int fd) {
    return fails(fd, "sync") ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return fails(fd, "sync") ? -1 : REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t length) {
    return fails(fd, "truncate") ? -1 : REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    return fails(fd, "truncate") ? -1 : REAL(ftruncate64)(fd, length);
}
