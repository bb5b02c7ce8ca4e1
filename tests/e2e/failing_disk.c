/* Loaded before the C library, makes the disk below a folder full, or its syncs fail, for as long as a file says so.
 * FAILING_DISK is the folder, FAILING_DISK_SWITCH the file: it begins with `f` for full, with `s` for syncs that fail.
 * What is written to memory that a file is mapped to is not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* What the switch says: 0 for a disk that is sound. */
static char trouble(void) {
    const char *file = getenv("FAILING_DISK_SWITCH");
    char said = 0;
    int saved = errno, found = file ? (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
    if (found >= 0) {
        if (read(found, &said, 1) != 1) said = 0;
        close(found);
    }
    errno = saved;
    return said;
}

static int is_below(const char *path) {
    const char *folder = getenv("FAILING_DISK");
    size_t length = folder ? strlen(folder) : 0;
    return length && !strncmp(path, folder, length) && path[length] == '/';
}

static int is_ours(int file) {
    char link[64], path[PATH_MAX];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* A write that the full disk does not take. */
static int is_full(int file) { return is_ours(file) && trouble() == 'f' ? (errno = ENOSPC, 1) : 0; }
static int cannot_sync(int file) { return is_ours(file) && trouble() == 's' ? (errno = EIO, 1) : 0; }
static int cannot_create(const char *path, int flags) {
    return (flags & O_CREAT) && is_below(path) && trouble() == 'f' && access(path, F_OK) ? (errno = ENOSPC, 1) : 0;
}

#define OPEN(name)                                                       \
    typedef int (*name##_type)(const char *, int, ...);                 \
    int name(const char *path, int flags, ...) {                         \
        static name##_type real;                                        \
        va_list rest;                                                    \
        va_start(rest, flags);                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                    \
        if (!real) real = (name##_type)dlsym(RTLD_NEXT, #name);         \
        return cannot_create(path, flags) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define GUARDED(result, name, refused, types, names)                     \
    result name types {                                                  \
        static result(*real) types;                                      \
        if (!real) real = (result(*) types)dlsym(RTLD_NEXT, #name);      \
        return refused ? -1 : real names;                                \
    }
GUARDED(ssize_t, write, is_full(file), (int file, const void *data, size_t size), (file, data, size))
GUARDED(ssize_t, writev, is_full(file), (int file, const struct iovec *data, int count), (file, data, count))
GUARDED(ssize_t, pwrite, is_full(file), (int file, const void *data, size_t size, off_t at), (file, data, size, at))
GUARDED(ssize_t, pwrite64, is_full(file), (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
GUARDED(int, fsync, cannot_sync(file), (int file), (file))
GUARDED(int, fdatasync, cannot_sync(file), (int file), (file))
