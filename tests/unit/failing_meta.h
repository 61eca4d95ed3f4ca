/* failing_meta -- lets a test make LMDB's writes of its meta page fail: after one of them it refuses every transaction.
 *
 * To be included first, by one file of a program: the pwrite that LMDB calls is this one. */
#pragma once
#undef _FILE_OFFSET_BITS /* which would give pwrite another name: here both names are defined */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_bool failing_meta;

/* LMDB writes its meta page alone and less than a page of it. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    if (failing_meta && len < 4096) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return pwrite(fd, data, len, offset);
}
