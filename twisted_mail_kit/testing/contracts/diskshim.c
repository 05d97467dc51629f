/* Stands between a process and its files: writes down what is done below one directory, and lets calls fail.

   Loaded with LD_PRELOAD, told what to do by disk_journal(), disk_fail() and disk_well() through ctypes. Linux, 64 bits.
   A sync below the directory is never really made: what would have survived is worked out from the journal.
   What goes past libc's functions (stdio's own buffers, a shared writable mmap) is not seen. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_length;
static int journal = -1;
static uint64_t syncs;

/* --- files below the directory: known by inode, so that dup, close and fork need not be followed ------------------- */

#define KNOWN 65536
static struct { dev_t dev; ino_t ino; char *path; } known[KNOWN];

static unsigned place(dev_t dev, ino_t ino) {
    unsigned at = (unsigned)(ino * 2654435761u) % KNOWN;
    for (unsigned tries = 0; tries < KNOWN && known[at].ino; tries++, at = (at + 1) % KNOWN)
        if (known[at].ino == ino && known[at].dev == dev) break;
    return at;
}

static void remember(const struct stat *is, const char *path) {
    unsigned at = place(is->st_dev, is->st_ino);
    known[at].dev = is->st_dev;
    known[at].ino = is->st_ino;
    free(known[at].path);
    known[at].path = path ? strdup(path) : NULL; /* NULL: opened elsewhere since */
}

static const char *path_of(int fd, struct stat *is) {
    if (!directory_length || fstat(fd, is) || !is->st_ino) return NULL;
    unsigned at = place(is->st_dev, is->st_ino);
    return known[at].ino == is->st_ino && known[at].dev == is->st_dev ? known[at].path : NULL;
}

static const char *below(int at, const char *path, char *whole) {
    if (!directory_length || !path) return NULL;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        char base[PATH_MAX] = "", link[64];
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return NULL;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            if (readlink(link, base, sizeof base - 1) < 0) return NULL;
        }
        if ((size_t)snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    }
    if (strncmp(whole, directory, directory_length)) return NULL;
    return whole[directory_length] == '/' || !whole[directory_length] ? whole : NULL;
}

/* --- the journal --------------------------------------------------------------------------------------------------- */

struct record { uint8_t kind; uint8_t pad[7]; uint64_t ino; int64_t at; uint32_t first, second; };

static void put(char kind, ino_t ino, int64_t at, const void *one, size_t first, const void *two, size_t second) {
    if (journal < 0) return;
    struct record head = {.kind = (uint8_t)kind, .ino = ino, .at = at, .first = (uint32_t)first, .second = (uint32_t)second};
    struct iovec all[3] = {{&head, sizeof head}, {(void *)one, first}, {(void *)two, second}};
    int saved = errno;
    if (syscall(SYS_writev, journal, all, 3) != (long)(sizeof head + first + second)) _exit(97);
    errno = saved;
}

static void put_path(char kind, ino_t ino, int64_t at, const char *one, const char *two) {
    put(kind, ino, at, one, one ? strlen(one) : 0, two, two ? strlen(two) : 0);
}

/* --- faults -------------------------------------------------------------------------------------------------------- */

enum { WRITE = 1, ROOM = 2, SYNC = 4, NAME = 8, OPEN = 16, READ = 32 };
static int failing, fail_from, fail_until, fail_error, fail_kinds, calls, failed, failed_syncs;
static char first_failed[PATH_MAX + 64];

/* Whether this call has to fail; -1 is a short write. */
static int fault(int kind, const char *name, const char *path) {
    if (!failing || !(kind & fail_kinds)) return 0;
    int number = ++calls;
    if (number < fail_from || number > fail_until) return 0;
    if (!failed++) snprintf(first_failed, sizeof first_failed, "%s(%s)", name, path + directory_length);
    return fail_error ? fail_error : -1;
}

#define FAIL_IF(kind, name, path)                                                                                       \
    do {                                                                                                                \
        int wrong = fault(kind, name, path);                                                                            \
        if (wrong > 0) { pthread_mutex_unlock(&turn); errno = wrong; return -1; }                                       \
    } while (0)

/* --- what Python asks for ------------------------------------------------------------------------------------------ */

/* Look at this directory from now on, and write down what happens there (path NULL: write down nothing). */
int disk_journal(const char *below_this, const char *path) {
    pthread_mutex_lock(&turn);
    snprintf(directory, sizeof directory, "%s", below_this);
    directory_length = strlen(directory);
    for (unsigned at = 0; at < KNOWN; at++) {
        free(known[at].path);
        memset(&known[at], 0, sizeof known[at]);
    }
    if (journal >= 0) close(journal);
    journal = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600) : -1;
    pthread_mutex_unlock(&turn);
    return path && journal < 0 ? errno : 0;
}

/* Calls of these kinds, numbered from 1: those from `from` to `until` fail with that errno (0: writes fall short). */
void disk_fail(int from, int until, int error, int kinds) {
    pthread_mutex_lock(&turn);
    fail_from = from, fail_until = until, fail_error = error, fail_kinds = kinds;
    calls = failed = failed_syncs = 0, first_failed[0] = 0, failing = 1;
    pthread_mutex_unlock(&turn);
}

/* How many calls have failed so far. */
int disk_failed(void) { return failed; }

/* No more failures; tells how many calls there were, how many failed, how many of those were syncs, and the first. */
int disk_well(int *how_many_failed, int *how_many_syncs, char *first, int size) {
    pthread_mutex_lock(&turn);
    failing = 0;
    *how_many_failed = failed;
    *how_many_syncs = failed_syncs;
    snprintf(first, size, "%s", first_failed);
    int seen = calls;
    pthread_mutex_unlock(&turn);
    return seen;
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

static ssize_t writing(const char *name, int fd, const struct iovec *pieces, int count, int64_t at, int flags) {
    struct stat is;
    const char *path = path_of(fd, &is);
    if (!path && !(fd == 1 && journal >= 0))
        return at < 0 ? syscall(SYS_writev, fd, pieces, count) : syscall(SYS_pwritev2, fd, pieces, count, at, 0, flags);
    size_t whole = 0;
    for (int one = 0; one < count; one++) whole += pieces[one].iov_len;
    char *joined = malloc(whole ? whole : 1);
    for (size_t one = 0, done = 0; one < (size_t)count; done += pieces[one].iov_len, one++)
        memcpy(joined + done, pieces[one].iov_base, pieces[one].iov_len);
    pthread_mutex_lock(&turn);
    if (path) {
        int wrong = fault(WRITE | ROOM, name, path);
        if (wrong > 0) { pthread_mutex_unlock(&turn); free(joined); errno = wrong; return -1; }
        if (wrong < 0 && whole > 1) whole /= 2;
    }
    ssize_t done = at < 0 ? syscall(SYS_write, fd, joined, whole) : syscall(SYS_pwrite64, fd, joined, whole, at);
    if (done > 0) {
        if (!path) {
            put('M', 0, 0, joined, (size_t)done, NULL, 0);
        } else {
            int modes = (int)syscall(SYS_fcntl, fd, F_GETFL);
            if (at < 0) at = lseek(fd, 0, SEEK_CUR) - done;
            put('W', is.st_ino, at, joined, (size_t)done, NULL, 0);
            if (modes & O_DSYNC) put('B', is.st_ino, (int64_t)++syncs, NULL, 0, NULL, 0), put('E', is.st_ino, (int64_t)syncs, NULL, 0, NULL, 0);
        }
    }
    int saved = errno;
    pthread_mutex_unlock(&turn);
    free(joined);
    errno = saved;
    return done;
}

ssize_t write(int fd, const void *octets, size_t size) {
    struct iovec piece = {(void *)octets, size};
    return writing("write", fd, &piece, 1, -1, 0);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t at) {
    struct iovec piece = {(void *)octets, size};
    return writing("pwrite", fd, &piece, 1, at, 0);
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t at) { return pwrite(fd, octets, size, at); }
ssize_t writev(int fd, const struct iovec *pieces, int count) { return writing("writev", fd, pieces, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) { return writing("pwritev", fd, pieces, count, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t at) { return pwritev(fd, pieces, count, at); }
ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t at, int flags) { return writing("pwritev2", fd, pieces, count, at, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off64_t at, int flags) { return pwritev2(fd, pieces, count, at, flags); }

int ftruncate(int fd, off_t size) {
    struct stat is;
    const char *path = path_of(fd, &is);
    if (!path) return (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&turn);
    FAIL_IF(size > is.st_size ? WRITE | ROOM : WRITE, "ftruncate", path);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    if (!done) put('T', is.st_ino, size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int truncate(const char *path, off_t size) {
    char whole[PATH_MAX];
    struct stat is;
    if (!below(AT_FDCWD, path, whole)) return (int)syscall(SYS_truncate, path, size);
    pthread_mutex_lock(&turn);
    FAIL_IF(WRITE | ROOM, "truncate", whole);
    int done = (int)syscall(SYS_truncate, path, size);
    if (!done && !stat(path, &is)) put('T', is.st_ino, size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

int fallocate(int fd, int mode, off_t at, off_t size) {
    struct stat is;
    const char *path = path_of(fd, &is);
    if (!path) return (int)syscall(SYS_fallocate, fd, mode, at, size);
    pthread_mutex_lock(&turn);
    FAIL_IF(WRITE | ROOM, "fallocate", path);
    int done = (int)syscall(SYS_fallocate, fd, mode, at, size);
    if (!done && !mode && at + size > is.st_size) put('T', is.st_ino, at + size, NULL, 0, NULL, 0);
    if (!done && (mode & ~FALLOC_FL_KEEP_SIZE)) put_path('Z', is.st_ino, 0, path, "fallocate");
    pthread_mutex_unlock(&turn);
    return done;
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t at) {
    struct stat is;
    const char *path = fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED) ? path_of(fd, &is) : NULL;
    size_t length = path ? strlen(path) : 0;
    /* SQLite's -shm is no durable state: it is made anew whenever nobody has it open. */
    if (path && (length < 4 || strcmp(path + length - 4, "-shm"))) {
        pthread_mutex_lock(&turn);
        put_path('Z', is.st_ino, 0, path, "mmap");
        pthread_mutex_unlock(&turn);
    }
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, at);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t at) {
    return mmap(address, size, protection, flags, fd, at);
}

/* --- syncing ------------------------------------------------------------------------------------------------------- */

static int syncing(const char *name, int fd, long number) {
    struct stat is;
    const char *path = path_of(fd, &is);
    if (!path) return (int)syscall(number, fd);
    pthread_mutex_lock(&turn);
    int64_t mine = (int64_t)++syncs;
    put('B', is.st_ino, mine, NULL, 0, NULL, 0);
    int wrong = fault(SYNC, name, path);
    failed_syncs += wrong > 0;
    if (wrong > 0) put('F', is.st_ino, mine, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    if (wrong > 0) { errno = wrong; return -1; }
    usleep(200); /* others may write while it lasts: that is not covered by it */
    pthread_mutex_lock(&turn);
    put('E', is.st_ino, mine, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return 0;
}

int fsync(int fd) { return syncing("fsync", fd, SYS_fsync); }
int fdatasync(int fd) { return syncing("fdatasync", fd, SYS_fdatasync); }

static void sync_all(void) {
    pthread_mutex_lock(&turn);
    put('B', 0, (int64_t)++syncs, NULL, 0, NULL, 0);
    put('E', 0, (int64_t)syncs, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
}

int syncfs(int fd) {
    struct stat is;
    if (!path_of(fd, &is)) return (int)syscall(SYS_syncfs, fd);
    sync_all();
    return 0;
}

void sync(void) {
    if (directory_length) sync_all();
    else syscall(SYS_sync);
}

/* --- names --------------------------------------------------------------------------------------------------------- */

static int opening(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct stat was, is;
    if (!below(at, path, whole)) {
        int fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0 && directory_length && path_of(fd, &is)) { /* the inode of a file that is gone, used again */
            pthread_mutex_lock(&turn);
            remember(&is, NULL);
            pthread_mutex_unlock(&turn);
        }
        return fd;
    }
    pthread_mutex_lock(&turn);
    int new = (flags & O_CREAT) && fstatat(at, path, &was, 0);
    int wrong = fault(new ? OPEN | ROOM : OPEN, "open", whole);
    failed_syncs += wrong > 0 && (flags & O_DIRECTORY); /* opened for nothing else */
    if (wrong > 0) { pthread_mutex_unlock(&turn); errno = wrong; return -1; }
    int fd = (int)syscall(SYS_openat, at, path, flags, mode), saved = errno;
    if (fd >= 0 && !fstat(fd, &is)) {
        remember(&is, whole);
        if (new) put_path('O', is.st_ino, 0, whole, NULL);
        else if ((flags & O_TRUNC) && S_ISREG(is.st_mode)) put('T', is.st_ino, 0, NULL, 0, NULL, 0);
        if ((flags & O_TMPFILE) == O_TMPFILE) put_path('O', is.st_ino, 0, NULL, NULL);
    }
    pthread_mutex_unlock(&turn);
    errno = saved;
    return fd;
}

#define MODE_OF(flags, mode)                                                                                            \
    mode_t mode = 0;                                                                                                    \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {                                                    \
        va_list more;                                                                                                   \
        va_start(more, flags);                                                                                          \
        mode = (mode_t)va_arg(more, int);                                                                               \
        va_end(more);                                                                                                   \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags, mode) return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags, mode) return opening(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags, mode) return opening(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags, mode) return opening(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opening(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
int __open_2(const char *path, int flags) { return opening(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opening(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return opening(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return opening(at, path, flags, 0); }

int mkdirat(int at, const char *path, mode_t mode) {
    char whole[PATH_MAX];
    struct stat is;
    if (!below(at, path, whole)) return (int)syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&turn);
    FAIL_IF(NAME | ROOM, "mkdir", whole);
    int done = (int)syscall(SYS_mkdirat, at, path, mode);
    if (!done && !fstatat(at, path, &is, 0)) put_path('D', is.st_ino, 0, whole, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int at, const char *path, int flags) {
    char whole[PATH_MAX];
    if (!below(at, path, whole)) return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&turn);
    FAIL_IF(NAME, "unlink", whole);
    int done = (int)syscall(SYS_unlinkat, at, path, flags);
    if (!done) put_path('U', 0, 0, whole, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    return unlinkat(AT_FDCWD, path, 0) ? (errno == EISDIR || errno == EPERM ? rmdir(path) : -1) : 0;
}

int renameat2(int from, const char *one, int to, const char *two, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    const char *here = below(from, one, old), *there = below(to, two, new);
    if (!here && !there) return (int)syscall(SYS_renameat2, from, one, to, two, flags);
    struct stat is;
    memset(&is, 0, sizeof is);
    pthread_mutex_lock(&turn);
    FAIL_IF(NAME | ROOM, "rename", here ? old : new);
    int done = (int)syscall(SYS_renameat2, from, one, to, two, flags);
    if (!done && !fstatat(to, two, &is, AT_SYMLINK_NOFOLLOW)) {
        put_path('R', is.st_ino, flags, here ? old : NULL, there ? new : NULL);
        if (!here || !there) put_path('Z', is.st_ino, 0, here ? old : new, "rename out of the directory or into it");
        if (there) remember(&is, new);
    }
    pthread_mutex_unlock(&turn);
    return done;
}

int renameat(int from, const char *one, int to, const char *two) { return renameat2(from, one, to, two, 0); }
int rename(const char *one, const char *two) { return renameat2(AT_FDCWD, one, AT_FDCWD, two, 0); }

int linkat(int from, const char *one, int to, const char *two, int flags) {
    char whole[PATH_MAX];
    struct stat is;
    if (!below(to, two, whole)) return (int)syscall(SYS_linkat, from, one, to, two, flags);
    pthread_mutex_lock(&turn);
    FAIL_IF(NAME | ROOM, "link", whole);
    int done = (int)syscall(SYS_linkat, from, one, to, two, flags);
    if (!done && !fstatat(to, two, &is, 0)) put_path('L', is.st_ino, 0, whole, NULL);
    pthread_mutex_unlock(&turn);
    return done;
}

int link(const char *one, const char *two) { return linkat(AT_FDCWD, one, AT_FDCWD, two, 0); }
