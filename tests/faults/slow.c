/* Put in front of the program with LD_PRELOAD: makes a disk or a decoder stop, where and as long as a test says.
 *
 *   SLOW_READ=<end of a file's name>   read one byte of it at a time, a tenth of a second for each
 *   HOLD_READ=<end of a file's name>   reads of it do not come back while the file HOLD is there
 *   HOLD_DECODER=<n>                   the n-th packet given to a decoder of FFmpeg's is held while the file HOLD is there
 *
 * Once something is held, the file HOLD.held appears. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hold(void)
{
    const char *path = getenv("HOLD");
    char held[4096];
    snprintf(held, sizeof held, "%s.held", path);
    close(open(held, O_CREAT | O_WRONLY, 0600));
    while (access(path, F_OK) == 0)
        usleep(5000);
}

static int is_meant(int file, const char *variable)
{
    const char *end = getenv(variable);
    char link[64], path[4096];
    if (!end)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < (ssize_t)strlen(end))
        return 0;
    path[size] = 0;
    return strcmp(path + size - strlen(end), end) == 0;
}

ssize_t pread64(int file, void *buffer, size_t size, off64_t position)
{
    static ssize_t (*next)(int, void *, size_t, off64_t);
    if (!next)
        next = (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    if (is_meant(file, "HOLD_READ"))
        hold();
    if (is_meant(file, "SLOW_READ") && size > 1) {
        usleep(100000);
        size = 1;
    }
    return next(file, buffer, size, position);
}

int avcodec_send_packet(void *context, const void *packet)
{
    static int (*next)(void *, const void *);
    static atomic_int sent;
    if (!next)
        next = (int (*)(void *, const void *))dlsym(RTLD_NEXT, "avcodec_send_packet");
    const char *at = getenv("HOLD_DECODER");
    if (at && ++sent == atoi(at))
        hold();
    return next(context, packet);
}
