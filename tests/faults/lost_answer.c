/* Loaded with LD_PRELOAD. LOSE_ANSWER=linkat-3-EIO: the third linkat(2) of the process is made, and then said to have
 * failed with EIO. LOSE_ANSWER_LOG is a file that appears when that happened. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int answer(const char *name, atomic_int *count, long result) {
    const char *lost = getenv("LOSE_ANSWER"), *log = getenv("LOSE_ANSWER_LOG");
    size_t length = strlen(name);
    if (result != 0 || !lost || !log || strncmp(lost, name, length) != 0 || lost[length] != '-') return (int)result;
    char *error;
    long nth = strtol(lost + length + 1, &error, 10);
    if (atomic_fetch_add(count, 1) + 1 != nth) return (int)result;
    close(open(log, O_CREAT | O_WRONLY, 0600));
    errno = strcmp(error, "-EIO") == 0 ? EIO : strcmp(error, "-EEXIST") == 0 ? EEXIST : ENOENT;
    return -1;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    static atomic_int count;
    return answer("linkat", &count, syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
}

int mkdir(const char *path, mode_t mode) {
    static atomic_int count;
    return answer("mkdir", &count, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int unlink(const char *path) {
    static atomic_int count;
    return answer("unlink", &count, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}
