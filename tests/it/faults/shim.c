/* Makes system calls of the gateway fail or wait, as a broken or slow disk does, and moves its wall clock.
 *
 * The tests compile this and load it by LD_PRELOAD. HOOKLATCH_FAULTS names a folder. Its file `faults` is read again at
 * each call, a line each:
 *
 *     sync  ENDING FAULT      of fsync and fdatasync
 *     write ENDING FAULT      of write and pwrite
 *     clock SECONDS           is added to the wall clock
 *
 * ENDING is that of the name of a file of the store: `.db`, `-wal`. FAULT is `EIO`, `ENOSPC`, `hold` (the call waits until
 * the line is gone), or a number of milliseconds that the call takes longer.
 *
 * If it has a folder `synced`, each file of the store is copied there after a sync that succeeded: what a loss of power leaves
 * at least.
 *
 * To the file `log` it adds `begin NAME`, then `end NAME RESULT` for each sync, and `refused NAME` for each write that it
 * fails. The system is called directly, and no memory is allocated. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *folder(void) {
    return getenv("HOOKLATCH_FAULTS");
}

/* Reads the faults into `text`; gives 0 if there are none. */
static int read_faults(char *text, size_t size) {
    char path[4096];
    if (!folder()) return 0;
    snprintf(path, sizeof path, "%s/faults", folder());
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return 0;
    long count = syscall(SYS_read, file, text, size - 1);
    syscall(SYS_close, file);
    if (count < 0) return 0;
    text[count] = 0;
    return 1;
}

/* The name of an open file of the store; gives 0 for any other. */
static int name_of(int fd, char *name, size_t size) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long count = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (count <= 0) return 0;
    path[count] = 0;
    const char *last = strrchr(path, '/');
    if (!last || strncmp(last + 1, "hooklatch.db", 12) != 0) return 0;
    snprintf(name, size, "%s", last + 1);
    return 1;
}

static void note(const char *what, const char *name, const char *result) {
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s/log", folder());
    int length = snprintf(line, sizeof line, "%s %s%s%s\n", what, name, *result ? " " : "", result);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
}

/* Copies an open file into the folder `synced`, if there is one, all of it or nothing. */
static void keep(int fd, const char *name) {
    char new[4096], path[4096], own[64], bytes[65536];
    snprintf(path, sizeof path, "%s/synced/%s", folder(), name);
    snprintf(new, sizeof new, "%s/synced/%s.%ld", folder(), name, (long)syscall(SYS_gettid));
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int to = (int)syscall(SYS_openat, AT_FDCWD, new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) return;
    int from = (int)syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC, 0);
    long count = -1;
    while (from >= 0 && (count = syscall(SYS_read, from, bytes, sizeof bytes)) > 0) {
        if (syscall(SYS_write, to, bytes, count) != count) {
            count = -1;
            break;
        }
    }
    if (from >= 0) syscall(SYS_close, from);
    syscall(SYS_close, to);
    if (count == 0) syscall(SYS_renameat2, AT_FDCWD, new, AT_FDCWD, path, 0);
}

static void wait_for(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int ends_with(const char *name, const char *ending) {
    size_t all = strlen(name), part = strlen(ending);
    return all >= part && strcmp(name + all - part, ending) == 0;
}

/* What is to happen to an operation on a file; 0 if nothing. */
static int fault_of(const char *operation, const char *name, char *fault) {
    char text[1024], *rest = text, *line;
    if (!read_faults(text, sizeof text)) return 0;
    while ((line = strsep(&rest, "\n"))) {
        char of[16], ending[64];
        if (sscanf(line, "%15s %63s %15s", of, ending, fault) != 3) continue;
        if (strcmp(of, operation) == 0 && ends_with(name, ending)) return 1;
    }
    return 0;
}

/* Lets the fault happen; gives the error that the call is to end with, or 0. */
static int suffer(const char *operation, const char *name) {
    char fault[16];
    int delayed = 0;
    while (fault_of(operation, name, fault)) {
        if (strcmp(fault, "EIO") == 0) return EIO;
        if (strcmp(fault, "ENOSPC") == 0) return ENOSPC;
        if (strcmp(fault, "hold") == 0) {
            wait_for(1);
        } else if (!delayed) {
            wait_for(atol(fault));
            delayed = 1;
        } else {
            break;
        }
    }
    return 0;
}

static int sync_by(long number, int fd) {
    char name[256];
    if (!folder() || !name_of(fd, name, sizeof name)) return (int)syscall(number, fd);
    note("begin", name, "");
    int error = suffer("sync", name);
    int result = error ? -1 : (int)syscall(number, fd);
    if (error) errno = error;
    int kept = errno;
    if (result == 0) keep(fd, name);
    note("end", name, result == 0 ? "ok" : "failed");
    errno = kept;
    return result;
}

int fsync(int fd) {
    return sync_by(SYS_fsync, fd);
}

int fdatasync(int fd) {
    return sync_by(SYS_fdatasync, fd);
}

/* Whether a write is to fail; sets errno then. */
static int refused(int fd) {
    char name[256];
    if (!folder() || !name_of(fd, name, sizeof name)) return 0;
    int error = suffer("write", name);
    if (!error) return 0;
    note("refused", name, "");
    errno = error;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return refused(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return refused(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return refused(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    char text[1024];
    long seconds;
    if (clock == CLOCK_REALTIME && result == 0 && read_faults(text, sizeof text)) {
        char *line = strstr(text, "clock ");
        if (line && sscanf(line, "clock %ld", &seconds) == 1) time->tv_sec += seconds;
    }
    return result;
}
