/* feature_set -- a data set of named places in memory, loaded once from a JSON file, with an index by point (a hash
 * table) and by rectangle (a k-d tree).
 *
 * The file: [{"location":{"latitude":int,"longitude":int},"name":string}, ...], degrees times 1e7; a place's name may
 * be empty and has at most ROUTE_MAX_NAME bytes; further members are ignored. A feature is known by its place in the
 * file.
 *
 * A loaded set never changes: any thread may read it. Memory: about 44 bytes a feature and its name.
 */
#pragma once
#include "geo.h"
#include <stddef.h>

struct feature_set;

/* error receives one line: file, line and column (in bytes, from 1), reason. 0, -EINVAL, -ENOMEM, or why the file could
 * not be read. */
int feature_set_load(const char *path, struct feature_set **ret_set, char *error, size_t error_size);
struct feature_set *feature_set_free(struct feature_set *set); /* returns NULL; nothing may be using the set */

size_t feature_set_count(const struct feature_set *set);
struct geo_point feature_set_point(const struct feature_set *set, size_t index);
const char *feature_set_name(const struct feature_set *set, size_t index); /* valid as long as the set */
/* The first feature in the file at exactly this point. */
bool feature_set_find(const struct feature_set *set, struct geo_point point, size_t *ret_index);

/* All features in a rectangle, one by one, in the order of the file. Memory is bounded (256 KiB a query): few results
 * are found by the tree and sorted, many by reading through the set, which then costs no more than sending them. */
#define FEATURE_SET_MAX_SORTED 65536

struct feature_set_query {
    const struct feature_set *set;
    struct geo_rect rect;
    uint32_t *sorted; /* NULL: reads through the set */
    size_t count;     /* of sorted, or of the set */
    size_t next;
};

int feature_set_query_open(const struct feature_set *set, const struct geo_rect *rect,
                           struct feature_set_query *ret_query); /* 0 or -ENOMEM */
bool feature_set_query_next(struct feature_set_query *query, size_t *ret_index);
void feature_set_query_close(struct feature_set_query *query); /* {0} is closed */
