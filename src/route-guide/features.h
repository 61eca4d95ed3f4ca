/* features -- a data set of named places in memory, loaded once from a JSON file, with an index by point (a hash table)
 * and by rectangle (a k-d tree).
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

struct features;

/* error receives one line: file, line and column (in bytes, from 1), reason. 0, -EINVAL, -ENOMEM, or why the file could
 * not be read. */
int features_load(const char *path, struct features **ret_features, char *error, size_t error_size);
struct features *features_free(struct features *features); /* returns NULL; nothing may be using the set */

size_t features_count(const struct features *features);
struct geo_point features_point(const struct features *features, size_t index);
const char *features_name(const struct features *features, size_t index); /* valid as long as the set */
/* The first feature in the file at exactly this point. */
bool features_find(const struct features *features, struct geo_point point, size_t *ret_index);

/* All features in a rectangle, one by one, in the order of the file. Memory is bounded (256 KiB a query): few results
 * are found by the tree and sorted, many by reading through the set, which then costs no more than sending them. */
#define FEATURES_MAX_SORTED 65536

struct features_query {
    const struct features *features;
    struct geo_rect rect;
    uint32_t *sorted; /* NULL: reads through the set */
    size_t count;     /* of sorted, or of the set */
    size_t next;
};

int features_query_open(const struct features *features, const struct geo_rect *rect,
                        struct features_query *ret_query); /* 0 or -ENOMEM */
bool features_query_next(struct features_query *query, size_t *ret_index);
void features_query_close(struct features_query *query); /* {0} is closed */
