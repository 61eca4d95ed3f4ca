#include "feature_set.h"
#include "feature_set_internal.h"
#include "kdtree.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_FEATURES (UINT32_MAX / 2) /* so that the hash table's size fits 32 bits too */

struct feature {
    struct geo_point point;
    uint64_t name; /* offset in names */
};

struct feature_set {
    struct feature *features;
    size_t count, capacity;
    struct buf names;   /* each terminated: what protobuf-c wants */
    uint32_t *slots;    /* open addressing: index + 1, or 0 */
    unsigned slot_bits; /* log2 of their number */
    struct kdtree_node *nodes;
};

struct feature_set *feature_set_new(void)
{
    return calloc(1, sizeof(struct feature_set));
}

struct feature_set *feature_set_free(struct feature_set *set)
{
    if (!set)
        return NULL;
    free(set->features);
    buf_release(&set->names);
    free(set->slots);
    free(set->nodes);
    free(set);
    return NULL;
}

static int grow(struct feature_set *set)
{
    size_t capacity = set->capacity ? set->capacity * 2 : 1024;
    struct feature *p = reallocarray(set->features, capacity, sizeof(*p));

    if (!p)
        return -ENOMEM;
    set->features = p;
    set->capacity = capacity;
    return 0;
}

int feature_set_add(struct feature_set *set, struct geo_point point, struct str name)
{
    size_t offset = set->names.len;

    if (set->count == MAX_FEATURES)
        return -EFBIG;
    if (set->count == set->capacity && grow(set) < 0)
        return -ENOMEM;
    buf_append_str(&set->names, name);
    buf_append_char(&set->names, '\0');
    if (set->names.failed)
        return -ENOMEM;
    set->features[set->count++] = (struct feature){.point = point, .name = offset};
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
static uint32_t *slot_of(const struct feature_set *set, struct geo_point point)
{
    size_t mask = ((size_t)1 << set->slot_bits) - 1;

    for (size_t i = hash(point) & mask;; i = (i + 1) & mask) {
        uint32_t slot = set->slots[i];

        if (slot == 0 || geo_point_eq(set->features[slot - 1].point, point))
            return &set->slots[i];
    }
}

static int index_points(struct feature_set *set)
{
    set->slot_bits = 1;
    while ((size_t)1 << set->slot_bits < set->count + set->count / 2 + 1) /* two thirds full at most */
        set->slot_bits++;
    set->slots = calloc((size_t)1 << set->slot_bits, sizeof(*set->slots));
    if (!set->slots)
        return -ENOMEM;
    for (size_t i = 0; i < set->count; i++) {
        uint32_t *slot = slot_of(set, set->features[i].point);

        if (*slot == 0)
            *slot = (uint32_t)i + 1;
    }
    return 0;
}

bool feature_set_find(const struct feature_set *set, struct geo_point point, size_t *ret_index)
{
    uint32_t slot = *slot_of(set, point);

    if (slot == 0)
        return false;
    *ret_index = slot - 1;
    return true;
}

/* ---- by rectangle ---- */

static int index_rectangles(struct feature_set *set)
{
    set->nodes = calloc(set->count ? set->count : 1, sizeof(*set->nodes));
    if (!set->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < set->count; i++)
        set->nodes[i] = (struct kdtree_node){.point = set->features[i].point, .index = (uint32_t)i};
    kdtree_build(set->nodes, set->count);
    return 0;
}

int feature_set_index(struct feature_set *set)
{
    int r = index_points(set);

    return r < 0 ? r : index_rectangles(set);
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

        if (capacity > FEATURE_SET_MAX_SORTED)
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

int feature_set_query_open(const struct feature_set *set, const struct geo_rect *rect,
                           struct feature_set_query *ret_query)
{
    struct feature_set_query query = {.set = set, .rect = *rect, .count = set->count};
    struct collection c = {0};

    if (kdtree_search(set->nodes, set->count, rect, collect, &c)) {
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

bool feature_set_query_next(struct feature_set_query *query, size_t *ret_index)
{
    while (query->next < query->count) {
        size_t i = query->next++;

        if (query->sorted)
            i = query->sorted[i];
        else if (!geo_rect_contains(&query->rect, query->set->features[i].point))
            continue;
        *ret_index = i;
        return true;
    }
    return false;
}

void feature_set_query_close(struct feature_set_query *query)
{
    free(query->sorted);
    *query = (struct feature_set_query){0};
}

size_t feature_set_count(const struct feature_set *set)
{
    return set->count;
}

struct geo_point feature_set_point(const struct feature_set *set, size_t index)
{
    return set->features[index].point;
}

const char *feature_set_name(const struct feature_set *set, size_t index)
{
    return set->names.data + set->features[index].name;
}
