/* Stands between a process and the C library, for calls on one folder alone: it counts them, and at
 * one of them kills, stops or signals the process, or lets the call fail. Preloaded; see worker.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, SIGNAL, FAIL, FAIL_ON };

static char folder[4096];
static char unknown_calls[256];
static int action, number, log_fd = -1, with_reads;
static int first;
static atomic_int n_calls;

/* Begin to count. `number` is a signal's or an error's; the calls named in `unknown` always fail
 * as on a file system that does not know them. */
void fault_arm(const char *where, int what, int nth, int value, const char *unknown, int reads,
               const char *log_path)
{
    snprintf(unknown_calls, sizeof unknown_calls, " %s ", unknown);
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    action = what;
    first = nth;
    number = value;
    with_reads = reads;
    n_calls = 0;
    snprintf(folder, sizeof folder, "%s", where);
}

static int concerns(const char *path, int fd)
{
    char name[4096], link[64];
    ssize_t length;
    if (!folder[0])
        return 0;
    if (path && path[0] == '/')
        return strstr(path, folder) != NULL;
    if (fd < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    return strstr(name, folder) != NULL;
}

/* Note a call; tell whether it is to fail, with errno set. */
static int meets(const char *name, const char *path, int fd, int can_fail_on)
{
    char line[64];
    int nth, saved = errno;
    if (!concerns(path, fd))
        return 0;
    snprintf(line, sizeof line, " %s ", name);
    if (strstr(unknown_calls, line)) {
        errno = EOPNOTSUPP;
        return 1;
    }
    nth = ++n_calls;
    if (log_fd >= 0 && write(log_fd, line, snprintf(line, sizeof line, "%s\n", name)) < 0)
        return 0;
    errno = saved;
    if (nth == first && action == SIGNAL) {
        raise(number);
        errno = saved;
    }
    if ((nth == first && action == FAIL) || (nth >= first && action == FAIL_ON && can_fail_on)) {
        errno = number;
        return 1;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(name, parameters, arguments, path, fd, fills) \
    int name parameters \
    { \
        if (meets(#name, path, fd, fills)) \
            return -1; \
        return REAL(name) arguments; \
    }
#define WRAP_SIZED(name, parameters, arguments, fd, fills, is_counted) \
    ssize_t name parameters \
    { \
        if ((is_counted) && fd != log_fd && meets(#name, NULL, fd, fills)) \
            return -1; \
        return REAL(name) arguments; \
    }

extern int renameat2(int, const char *, int, const char *, unsigned);
extern int flock(int, int);
extern int chmod(const char *, mode_t), fchmod(int, mode_t);
extern int mkdir(const char *, mode_t), rename(const char *, const char *);

WRAP(rename, (const char *a, const char *b), (a, b), b, -1, 0)
WRAP(renameat2, (int f, const char *a, int g, const char *b, unsigned flags), (f, a, g, b, flags), b, -1, 0)
WRAP(link, (const char *a, const char *b), (a, b), b, -1, 0)
WRAP(linkat, (int f, const char *a, int g, const char *b, int flags), (f, a, g, b, flags), b, -1, 0)
WRAP(unlink, (const char *a), (a), a, -1, 0)
WRAP(unlinkat, (int f, const char *a, int flags), (f, a, flags), a, f, 0)
WRAP(rmdir, (const char *a), (a), a, -1, 0)
WRAP(mkdir, (const char *a, mode_t mode), (a, mode), a, -1, 1)
WRAP(chmod, (const char *a, mode_t mode), (a, mode), a, -1, 0)
WRAP(fchmod, (int f, mode_t mode), (f, mode), NULL, f, 0)
WRAP(truncate64, (const char *a, off64_t size), (a, size), a, -1, 1)
WRAP(ftruncate64, (int f, off64_t size), (f, size), NULL, f, 1)
WRAP(truncate, (const char *a, off_t size), (a, size), a, -1, 1)
WRAP(ftruncate, (int f, off_t size), (f, size), NULL, f, 1)
WRAP(fsync, (int f), (f), NULL, f, 0)
WRAP(flock, (int f, int how), (f, how), NULL, f, 0)

WRAP_SIZED(write, (int f, const void *a, size_t n), (f, a, n), f, 1, folder[0])
WRAP_SIZED(pwrite, (int f, const void *a, size_t n, off_t at), (f, a, n, at), f, 1, 1)
WRAP_SIZED(pwrite64, (int f, const void *a, size_t n, off64_t at), (f, a, n, at), f, 1, 1)
WRAP_SIZED(read, (int f, void *a, size_t n), (f, a, n), f, 0, with_reads)
WRAP_SIZED(pread, (int f, void *a, size_t n, off_t at), (f, a, n, at), f, 0, with_reads)
WRAP_SIZED(pread64, (int f, void *a, size_t n, off64_t at), (f, a, n, at), f, 0, with_reads)
WRAP_SIZED(preadv, (int f, const struct iovec *v, int n, off_t at), (f, v, n, at), f, 0, with_reads)
WRAP_SIZED(preadv64, (int f, const struct iovec *v, int n, off64_t at), (f, v, n, at), f, 0, with_reads)

/* What is closed is closed, also where the system says that it could not write all of it. */
int close(int f)
{
    int fails = meets("close", NULL, f, 0), saved = errno;
    int result = REAL(close)(f);
    if (fails)
        errno = saved;
    return fails ? -1 : result;
}

#define WRAP_OPEN(name) \
    int name(const char *a, int flags, ...) \
    { \
        va_list rest; \
        mode_t mode; \
        va_start(rest, flags); \
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (meets("open", a, -1, flags & O_CREAT)) \
            return -1; \
        return REAL(name)(a, flags, mode); \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)
