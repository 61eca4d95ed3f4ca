#include "features.h"
#include "features_internal.h"
#include "kdtree.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_FEATURES (UINT32_MAX / 2) /* so that the hash table's size fits 32 bits too */

struct feature {
    struct geo_point point;
    uint64_t name; /* offset in names */
};

struct features {
    struct feature *features;
    size_t count, capacity;
    struct buf names;   /* each terminated: what protobuf-c wants */
    uint32_t *slots;    /* open addressing: index + 1, or 0 */
    unsigned slot_bits; /* log2 of their number */
    struct kdtree_node *nodes;
};

struct features *features_new(void)
{
    return calloc(1, sizeof(struct features));
}

struct features *features_free(struct features *features)
{
    if (!features)
        return NULL;
    free(features->features);
    buf_release(&features->names);
    free(features->slots);
    free(features->nodes);
    free(features);
    return NULL;
}

static int grow(struct features *features)
{
    size_t capacity = features->capacity ? features->capacity * 2 : 1024;
    struct feature *p = reallocarray(features->features, capacity, sizeof(*p));

    if (!p)
        return -ENOMEM;
    features->features = p;
    features->capacity = capacity;
    return 0;
}

int features_add(struct features *features, struct geo_point point, struct str name)
{
    size_t offset = features->names.len;

    if (features->count == MAX_FEATURES)
        return -EFBIG;
    if (features->count == features->capacity && grow(features) < 0)
        return -ENOMEM;
    buf_append_str(&features->names, name);
    buf_append_char(&features->names, '\0');
    if (features->names.failed)
        return -ENOMEM;
    features->features[features->count++] = (struct feature){.point = point, .name = offset};
    return 0;
}

/* ---- by point ---- */

/* The finalizer of MurmurHash3: every bit of the point reaches every bit of the result. */
static uint64_t hash(struct geo_point point)
{
    uint64_t h = (uint64_t)(uint32_t)point.latitude << 32 | (uint32_t)point.longitude;

    h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

/* The slot of the first feature at the point, or the empty one where it belongs. */
static uint32_t *slot_of(const struct features *features, struct geo_point point)
{
    size_t mask = ((size_t)1 << features->slot_bits) - 1;

    for (size_t i = hash(point) & mask;; i = (i + 1) & mask) {
        uint32_t slot = features->slots[i];

        if (slot == 0 || geo_point_eq(features->features[slot - 1].point, point))
            return &features->slots[i];
    }
}

static int index_points(struct features *features)
{
    features->slot_bits = 1;
    while ((size_t)1 << features->slot_bits < features->count + features->count / 2 + 1) /* two thirds full at most */
        features->slot_bits++;
    features->slots = calloc((size_t)1 << features->slot_bits, sizeof(*features->slots));
    if (!features->slots)
        return -ENOMEM;
    for (size_t i = 0; i < features->count; i++) {
        uint32_t *slot = slot_of(features, features->features[i].point);

        if (*slot == 0)
            *slot = (uint32_t)i + 1;
    }
    return 0;
}

bool features_find(const struct features *features, struct geo_point point, size_t *ret_index)
{
    uint32_t slot = *slot_of(features, point);

    if (slot == 0)
        return false;
    *ret_index = slot - 1;
    return true;
}

/* ---- by rectangle ---- */

static int index_rectangles(struct features *features)
{
    features->nodes = calloc(features->count ? features->count : 1, sizeof(*features->nodes));
    if (!features->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < features->count; i++)
        features->nodes[i] = (struct kdtree_node){.point = features->features[i].point, .index = (uint32_t)i};
    kdtree_build(features->nodes, features->count);
    return 0;
}

int features_index(struct features *features)
{
    int r = index_points(features);

    return r < 0 ? r : index_rectangles(features);
}

struct collection {
    uint32_t *indices;
    size_t count, capacity;
    bool failed; /* out of memory */
};

static bool collect(void *arg, uint32_t index)
{
    struct collection *c = arg;

    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 4 : 64;
        uint32_t *p;

        if (capacity > FEATURES_MAX_SORTED)
            return false;
        p = reallocarray(c->indices, capacity, sizeof(*p));
        if (!p) {
            c->failed = true;
            return false;
        }
        c->indices = p;
        c->capacity = capacity;
    }
    c->indices[c->count++] = index;
    return true;
}

static int compare_indices(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

    return (i > j) - (i < j);
}

int features_query_open(const struct features *features, const struct geo_rect *rect, struct features_query *ret_query)
{
    struct features_query query = {.features = features, .rect = *rect, .count = features->count};
    struct collection c = {0};

    if (kdtree_search(features->nodes, features->count, rect, collect, &c)) {
        if (c.count > 0) /* qsort's base must not be NULL */
            qsort(c.indices, c.count, sizeof(*c.indices), compare_indices);
        query.sorted = c.indices;
        query.count = c.count;
    } else {
        free(c.indices);
        if (c.failed)
            return -ENOMEM;
    }
    *ret_query = query;
    return 0;
}

bool features_query_next(struct features_query *query, size_t *ret_index)
{
    while (query->next < query->count) {
        size_t i = query->next++;

        if (query->sorted)
            i = query->sorted[i];
        else if (!geo_rect_contains(&query->rect, query->features->features[i].point))
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

void features_query_close(struct features_query *query)
{
    free(query->sorted);
    *query = (struct features_query){0};
}

size_t features_count(const struct features *features)
{
    return features->count;
}

struct geo_point features_point(const struct features *features, size_t index)
{
    return features->features[index].point;
}

const char *features_name(const struct features *features, size_t index)
{
    return features->names.data + features->features[index].name;
}
