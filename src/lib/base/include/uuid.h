/* uuid -- UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits (getrandom(2)).
 * Unique across replicas without any agreement; nothing relies on their order across replicas. Any thread. */
#pragma once
#include "buf.h"
#include "names.h"

#define UUID_TEXT_LEN 36

struct uuid {
    uint8_t bytes[16];
};

int uuid_new(struct uuid *ret_uuid);
void uuid_format(const struct uuid *uuid, char text[UUID_TEXT_LEN + 1]); /* lower case, terminated */
int uuid_parse(struct str text, struct uuid *ret_uuid);                  /* any version, either case; -EINVAL */
