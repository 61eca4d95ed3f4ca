#include "user_id.h"
#include "fnv.h"
#include <assert.h>

static bool allowed(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool user_id_valid(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!allowed(id.s[i]))
            return false;
    return id.len >= 1 && id.len <= USER_ID_MAX;
}

/* FNV-1a leaves ids that differ in their last digit close together: this spreads them over all bits. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

uint64_t user_id_pick(struct str id, struct str topic, uint64_t bound)
{
    assert(bound > 0);
    return mix(fnv_str(fnv_str(fnv_str(FNV_BEGIN, topic), STR("/")), id)) % bound;
}
