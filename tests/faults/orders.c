/* Put in front of the program with LD_PRELOAD: does to its calls what a file of orders says, as long as it says so.
 *
 *   ORDERS=<file>         an order a line: <call> <part of what it concerns> <what is done> [<n>]
 *   CLOCK_OFFSET=<s>      the clock of day goes wrong by so many seconds
 *
 *   call      concerns                        is
 *   open      the file's path                 making a file
 *   write     the file's path
 *   fsync     the file's path
 *   link      the new name
 *   unlink    the path
 *   decode    <width>x<height>@<ordinal>      giving a packet to a decoder
 *   new       infer                           asking for memory in C++, in threads that infer: in ONNX Runtime
 *   clock     the thread's name               looking at a clock, in threads that poll
 *
 * A part with $ behind it is the end of what is concerned; a blank in a thread's name is written _.
 * What is done: an error's name; kill or kill-after, which end the process without a word; abort, as a crash does; eat,
 * which takes memory and is killed for it; hold, until the orders are others; sleep-<microseconds>.
 * With a number only the n-th call that fits an order is meant, counted in this process.
 * What was done is a line of <file>.done, but for sleeping. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define MOST_ORDERS 16
#define LONGEST_LINE 256

static const struct { const char *name; int number; } ERRORS[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EACCES", EACCES}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM},
};

/* System calls are made directly: those of the C library may be this file's own. */
static void note(const char *line)
{
    char path[4096], text[LONGEST_LINE + 1];
    snprintf(path, sizeof path, "%s.done", getenv("ORDERS"));
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    int size = snprintf(text, sizeof text, "%s\n", line);
    syscall(SYS_write, file, text, size);
    syscall(SYS_close, file);
}

static void end_process(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

static void eat(void)
{
    for (int n = 0; n < 64; n++) {
        char *some = malloc(4 << 20);
        if (some)
            memset(some, 1, 4 << 20);
    }
    end_process();
}

static int fits(const char *concerned, const char *part)
{
    size_t length = strlen(part), whole = strlen(concerned);
    if (length && part[length - 1] == '$')
        return whole >= length - 1 && memcmp(concerned + whole - (length - 1), part, length - 1) == 0;
    return strstr(concerned, part) != NULL;
}

/* Which file it is: every time that orders are given, they are another one. */
static ino_t file_of(const char *orders)
{
    struct stat found;
    return stat(orders, &found) == 0 ? found.st_ino : 0;
}

/* The error that the call is to fail with, or 0. `after` is set where the process is to end once it was made. */
static int ordered(const char *call, const char *concerned, int *after)
{
    static atomic_int counts[MOST_ORDERS];
    char text[MOST_ORDERS * LONGEST_LINE], *rest = NULL;
    const char *orders = getenv("ORDERS");
    *after = 0;
    if (!orders)
        return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, orders, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    ino_t given = file_of(orders);
    text[size > 0 ? size : 0] = 0;
    int index = 0;
    for (char *line = strtok_r(text, "\n", &rest); line && index < MOST_ORDERS; line = strtok_r(NULL, "\n", &rest), index++) {
        char name[32], part[160], what[32];
        int n = 0;
        if (sscanf(line, "%31s %159s %31s %d", name, part, what, &n) < 3 || strcmp(name, call) || !fits(concerned, part))
            continue;
        if (n && atomic_fetch_add(&counts[index], 1) + 1 != n)
            continue;
        if (!strncmp(what, "sleep-", 6)) {
            usleep((useconds_t)atoi(what + 6));
            continue;
        }
        note(line);
        if (!strcmp(what, "kill"))
            end_process();
        if (!strcmp(what, "abort")) {
            /* Nobody is to keep the core. */
            prctl(PR_SET_DUMPABLE, 0);
            abort();
        }
        if (!strcmp(what, "eat"))
            eat();
        if (!strcmp(what, "kill-after"))
            *after = 1;
        while (!strcmp(what, "hold") && file_of(orders) == given)
            usleep(5000);
        for (size_t e = 0; e < sizeof ERRORS / sizeof *ERRORS; e++)
            if (!strcmp(what, ERRORS[e].name))
                return ERRORS[e].number;
    }
    return 0;
}

static void path_of(int file, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
}

static void name_of_thread(char *name)
{
    prctl(PR_GET_NAME, name);
    for (; *name; name++)
        if (*name == ' ')
            *name = '_';
}

static long made(long result, int after)
{
    if (after)
        end_process();
    return result;
}

#define FAIL_IF_ORDERED(call, concerned)                     \
    int after, error = ordered(call, concerned, &after);     \
    if (error) {                                             \
        errno = error;                                       \
        return -1;                                           \
    }

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (!(flags & O_CREAT))
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    FAIL_IF_ORDERED("open", path);
    return (int)made(syscall(SYS_openat, AT_FDCWD, path, flags, mode), after);
}

ssize_t write(int file, const void *bytes, size_t size)
{
    char path[4096];
    path_of(file, path, sizeof path);
    if (path[0] != '/')
        return syscall(SYS_write, file, bytes, size);
    FAIL_IF_ORDERED("write", path);
    return made(syscall(SYS_write, file, bytes, size), after);
}

int fsync(int file)
{
    char path[4096];
    path_of(file, path, sizeof path);
    FAIL_IF_ORDERED("fsync", path);
    return (int)made(syscall(SYS_fsync, file), after);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    FAIL_IF_ORDERED("link", to);
    return (int)made(syscall(SYS_linkat, from_folder, from, to_folder, to, flags), after);
}

int unlink(const char *path)
{
    FAIL_IF_ORDERED("unlink", path);
    return (int)made(syscall(SYS_unlinkat, AT_FDCWD, path, 0), after);
}

int avcodec_send_packet(AVCodecContext *context, const AVPacket *packet)
{
    static int (*next)(AVCodecContext *, const AVPacket *);
    char concerned[64];
    int after;
    if (!next)
        next = (int (*)(AVCodecContext *, const AVPacket *))dlsym(RTLD_NEXT, "avcodec_send_packet");
    if (packet && packet->size) {
        snprintf(concerned, sizeof concerned, "%dx%d@%lld", context->width, context->height, (long long)packet->pts);
        ordered("decode", concerned, &after);
    }
    return next(context, packet);
}

/* Of each thread: 0 not known yet, since it has still the name of the process; 1 it infers, -1 it does not. */
static int infers(void)
{
    static _Thread_local int known;
    char name[16];
    if (!known) {
        name_of_thread(name);
        if (strncmp(name, "framefleet", 10))
            known = strncmp(name, "infer-", 6) ? -1 : 1;
    }
    return known > 0;
}

static int is_of_cpp(const void *code)
{
    Dl_info found;
    return dladdr(code, &found) && strstr(found.dli_fname, "libstdc++") != NULL;
}

extern void *__libc_malloc(size_t size);

void *malloc(size_t size)
{
    int after;
    if (infers() && is_of_cpp(__builtin_return_address(0)) && ordered("new", "infer", &after)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

static long long offset(void)
{
    const char *offset = getenv("CLOCK_OFFSET");
    return offset ? atoll(offset) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    /* Of each thread: 0 not known yet, 1 it polls, -1 it does not. */
    static _Thread_local int polls;
    char name[16];
    int after;
    if (polls >= 0) {
        name_of_thread(name);
        polls = strncmp(name, "poll_", 5) ? -1 : 1;
    }
    if (polls > 0)
        ordered("clock", name, &after);
    long result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        time->tv_sec += offset();
    return (int)result;
}

int gettimeofday(struct timeval *time, void *zone)
{
    (void)zone;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec + offset();
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* Until a time of the clock of day, which the kernel takes for the right one. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    if (!next)
        next = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec right = *until;
    right.tv_sec -= offset();
    return next(condition, mutex, &right);
}
