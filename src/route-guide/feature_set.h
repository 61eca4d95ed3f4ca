/* feature_set -- named places in memory, loaded once from a JSON file, with an index by point (a hash table) and by
 * rectangle (a k-d tree).
 *
 * The file: [{"location":{"latitude":int,"longitude":int},"name":string}, ...], degrees times 1e7; a name may be empty
 * and has at most ROUTE_MAX_NAME bytes; further members are ignored.
 *
 * A loaded set never changes: any thread may read it, and features are valid as long as the set. Memory: about 30 bytes
 * a feature and its name, up to 16 GiB of features.
 */
#pragma once
#include "geo.h"
#include <stddef.h>

struct feature_set;

/* Features lie one behind the other in the order of the file. */
struct feature {
    struct geo_point point;
    uint16_t size; /* private: of the feature, in units of its alignment */
    char name[];   /* terminated */
};

/* error receives one line: file, line and column (in bytes, from 1), reason. 0, -EINVAL, -ENOMEM, -EFBIG, or why the
 * file could not be read. */
int feature_set_load(const char *path, struct feature_set **ret_set, char *error, size_t error_size);
struct feature_set *feature_set_free(struct feature_set *set); /* returns NULL; nothing may be using the set */

size_t feature_set_count(const struct feature_set *set);
/* The first feature in the file at exactly this point, or NULL. */
const struct feature *feature_set_find(const struct feature_set *set, struct geo_point point);

/* All features in a rectangle, one by one, in the order of the file. Memory is bounded (16 KiB a query): few results
 * are found by the tree and sorted, many by reading through the set, which then costs no more than sending them. */
#define FEATURE_SET_MAX_SORTED 4096

struct feature_set_query {
    const struct feature_set *set;
    struct geo_rect rect;
    uint32_t *sorted;   /* places of features; NULL: reads through the set */
    size_t count, next; /* of sorted; else next is a place in the set */
};

int feature_set_query_open(const struct feature_set *set, const struct geo_rect *rect,
                           struct feature_set_query *ret_query);               /* 0 or -ENOMEM */
const struct feature *feature_set_query_next(struct feature_set_query *query); /* NULL: there are no more */
void feature_set_query_close(struct feature_set_query *query);                 /* {0} is closed */
