#include "uuid.h"
#include "clock.h"
#include "hex.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

/* Of the kernel, so many at a time that few ids cost a system call; 256 bytes are never interrupted (getrandom(2)),
 * and before the kernel's generator is seeded it waits, at boot only. A child process does not use its parent's. */
static _Thread_local uint8_t pool[256];
static _Thread_local size_t left; /* of pool, at its front */

static void forget_pool(void)
{
    left = 0;
}

__attribute__((constructor)) static void forget_pool_in_children(void)
{
    pthread_atfork(NULL, NULL, forget_pool);
}

static int take_random(uint8_t *to, size_t len)
{
    if (left < len) {
        if (getrandom(pool, sizeof(pool), 0) != (ssize_t)sizeof(pool))
            return -EIO;
        left = sizeof(pool);
    }
    left -= len;
    memcpy(to, pool + left, len);
    return 0;
}

int uuid_new(struct uuid *ret_uuid)
{
    uint64_t ms = clock_realtime_ns() / CLOCK_NS_PER_MS;
    struct uuid uuid;

    if (take_random(uuid.bytes, sizeof(uuid.bytes)) < 0)
        return -EIO;
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | (uuid.bytes[6] & 0x0f));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3f));
    *ret_uuid = uuid;
    return 0;
}

void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_LEN + 1])
{
    char *to = text;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        to = hex_encode(&uuid->bytes[i], 1, to);
    }
    *to = '\0';
}

int uuid_parse(struct str text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    const char *from = text.s;

    if (text.len != UUID_TEXT_LEN)
        return -EINVAL;
    for (int i = 0; i < 16; i++) {
        int byte;

        if ((i == 4 || i == 6 || i == 8 || i == 10) && *from++ != '-')
            return -EINVAL;
        byte = hex_byte(from);
        if (byte < 0)
            return -EINVAL;
        uuid.bytes[i] = (uint8_t)byte;
        from += 2;
    }
    *ret_uuid = uuid;
    return 0;
}
