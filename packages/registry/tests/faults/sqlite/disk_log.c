/* Preloaded into a process, it logs what the process does to the files of a folder.
 *
 * DISK_FOLDER is the folder, DISK_LOG the log's file. `disk.py` reads the log and says
 * what a power cut would have left. Writes are logged before they are made, so that
 * the log misses none when the process is killed. A sync is logged before and after:
 * only what was written before it began is sure to be on the disk when it returns.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct head {
    uint64_t kind, at, thread, inode, offset, length;
};

static const char *folder;
static size_t folder_length;
static int log_file = -1;

static void start(void) {
    if (log_file >= 0)
        return;
    folder = getenv("DISK_FOLDER");
    folder_length = strlen(folder);
    log_file = syscall(SYS_openat, AT_FDCWD, getenv("DISK_LOG"),
                       O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_file < 0)
        abort();
}

static void note(char kind, ino_t inode, uint64_t offset, const void *data,
                 size_t length) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct head head = {kind,  now.tv_sec * 1000000000ull + now.tv_nsec,
                        gettid(), inode, offset, length};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, length}};
    /* One append is whole, whoever else appends. */
    if (writev(log_file, parts, 2) != (ssize_t)(sizeof head + length))
        abort();
}

static const char *name_of(const char *path) {
    start();
    int inside = !strncmp(path, folder, folder_length) && path[folder_length] == '/';
    return inside ? path + folder_length + 1 : NULL;
}

/* Returns the inode of a file in the folder, or of the folder; 0 for all others. */
static ino_t inode_of(int file, struct stat *status) {
    char link[64], path[PATH_MAX];
    start();
    if (fstat(file, status) || !(S_ISREG(status->st_mode) || S_ISDIR(status->st_mode)))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < (ssize_t)folder_length || strncmp(path, folder, folder_length))
        return 0;
    path[length] = 0;
    return path[folder_length] == '/' || !path[folder_length] ? status->st_ino : 0;
}

#define REAL(type, name, ...)                                                         \
    static type (*real)(__VA_ARGS__);                                                 \
    if (!real)                                                                        \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int opened(int file, const char *path, int flags) {
    struct stat status;
    const char *name = name_of(path);
    if (file >= 0 && name && flags & (O_CREAT | O_TRUNC) && !fstat(file, &status)) {
        note('l', status.st_ino, 0, name, strlen(name));
        if (flags & O_TRUNC)
            note('t', status.st_ino, 0, NULL, 0);
    }
    return file;
}

#define OPEN(name)                                                                    \
    int name(const char *path, int flags, ...) {                                      \
        va_list rest;                                                                 \
        va_start(rest, flags);                                                        \
        int mode = va_arg(rest, int);                                                 \
        va_end(rest);                                                                 \
        REAL(int, #name, const char *, int, int);                                     \
        return opened(real(path, flags, mode), path, flags);                          \
    }
OPEN(open)
OPEN(open64)

#define PWRITE(name)                                                                  \
    ssize_t name(int file, const void *data, size_t length, off_t offset) {           \
        struct stat status;                                                           \
        ino_t inode = inode_of(file, &status);                                        \
        REAL(ssize_t, #name, int, const void *, size_t, off_t);                       \
        if (inode)                                                                    \
            note('w', inode, offset, data, length);                                   \
        return real(file, data, length, offset);                                      \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int file, const void *data, size_t length) {
    struct stat status;
    ino_t inode = inode_of(file, &status);
    REAL(ssize_t, "write", int, const void *, size_t);
    if (inode) {
        int appends = fcntl(file, F_GETFL) & O_APPEND;
        off_t offset = appends ? status.st_size : lseek(file, 0, SEEK_CUR);
        note('w', inode, offset, data, length);
    }
    return real(file, data, length);
}

#define TRUNCATE(name)                                                                \
    int name(int file, off_t length) {                                                \
        struct stat status;                                                           \
        ino_t inode = inode_of(file, &status);                                        \
        REAL(int, #name, int, off_t);                                                 \
        if (inode)                                                                    \
            note('t', inode, length, NULL, 0);                                        \
        return real(file, length);                                                    \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name)                                                                    \
    int name(int file) {                                                              \
        struct stat status;                                                           \
        ino_t inode = inode_of(file, &status);                                        \
        REAL(int, #name, int);                                                        \
        if (inode)                                                                    \
            note('b', inode, 0, NULL, 0);                                             \
        int result = real(file);                                                      \
        if (inode && !result)                                                         \
            note('s', inode, 0, NULL, 0);                                             \
        return result;                                                                \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    const char *from = name_of(old), *to = name_of(new);
    if (from && to) {
        char both[2 * NAME_MAX + 2];
        int length = snprintf(both, sizeof both, "%s/%s", from, to);
        note('r', 0, 0, both, length);
    }
    return real(old, new);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    const char *name = name_of(path);
    if (name)
        note('u', 0, 0, name, strlen(name));
    return real(path);
}
