#include "feature_set.h"
#include "feature_set_internal.h"
#include "kdtree.h"
#include <errno.h>
#include <stdlib.h>

#define UNIT sizeof(uint32_t) /* features are aligned to it, and their places counted in it */

struct feature_set {
    struct buf bytes; /* features: point and name lie together, so that to find one costs two cache misses */
    size_t count;
    uint32_t *slots;    /* open addressing: place + 1, or 0 */
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
    buf_release(&set->bytes);
    free(set->slots);
    free(set->nodes);
    free(set);
    return NULL;
}

int feature_set_add(struct feature_set *set, struct geo_point point, struct str name)
{
    size_t units = (offsetof(struct feature, name) + name.len + 1 + UNIT - 1) / UNIT;
    struct feature *feature;

    if (set->bytes.len / UNIT + units >= UINT32_MAX)
        return -EFBIG;
    feature = (struct feature *)buf_reserve(&set->bytes, units * UNIT);
    if (!feature)
        return -ENOMEM;
    memset(feature, 0, units * UNIT);
    feature->point = point;
    feature->size = (uint16_t)units;
    memcpy(feature->name, name.s, name.len);
    set->bytes.len += units * UNIT;
    set->count++;
    return 0;
}

static const struct feature *feature_at(const struct feature_set *set, size_t place)
{
    return (const struct feature *)(set->bytes.data + place * UNIT);
}

static size_t end_of(const struct feature_set *set)
{
    return set->bytes.len / UNIT;
}

size_t feature_set_count(const struct feature_set *set)
{
    return set->count;
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

        if (slot == 0 || geo_point_eq(feature_at(set, slot - 1)->point, point))
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
    for (size_t place = 0; place < end_of(set); place += feature_at(set, place)->size) {
        uint32_t *slot = slot_of(set, feature_at(set, place)->point);

        if (*slot == 0)
            *slot = (uint32_t)place + 1;
    }
    return 0;
}

const struct feature *feature_set_find(const struct feature_set *set, struct geo_point point)
{
    uint32_t slot = *slot_of(set, point);

    return slot ? feature_at(set, slot - 1) : NULL;
}

/* ---- by rectangle ---- */

static int index_rectangles(struct feature_set *set)
{
    struct kdtree_node *node = calloc(set->count ? set->count : 1, sizeof(*node));

    if (!node)
        return -ENOMEM;
    set->nodes = node;
    for (size_t place = 0; place < end_of(set); place += feature_at(set, place)->size)
        *node++ = (struct kdtree_node){.point = feature_at(set, place)->point, .index = (uint32_t)place};
    kdtree_build(set->nodes, set->count);
    return 0;
}

int feature_set_index(struct feature_set *set)
{
    int r = index_points(set);

    return r < 0 ? r : index_rectangles(set);
}

struct collection {
    uint32_t *places;
    size_t count, capacity;
    bool failed; /* out of memory */
};

static bool collect(void *arg, uint32_t place)
{
    struct collection *c = arg;

    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 4 : 64;
        uint32_t *p;

        if (capacity > FEATURE_SET_MAX_SORTED)
            return false;
        p = reallocarray(c->places, capacity, sizeof(*p));
        if (!p) {
            c->failed = true;
            return false;
        }
        c->places = p;
        c->capacity = capacity;
    }
    c->places[c->count++] = place;
    return true;
}

static int compare_places(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;

    return (i > j) - (i < j);
}

int feature_set_query_open(const struct feature_set *set, const struct geo_rect *rect,
                           struct feature_set_query *ret_query)
{
    struct feature_set_query query = {.set = set, .rect = *rect};
    struct collection c = {0};

    if (kdtree_search(set->nodes, set->count, rect, collect, &c)) {
        if (c.count == 0)
            query.next = end_of(set);
        else /* qsort's base must not be NULL */
            qsort(c.places, c.count, sizeof(*c.places), compare_places);
        query.sorted = c.places;
        query.count = c.count;
    } else {
        free(c.places);
        if (c.failed)
            return -ENOMEM;
    }
    *ret_query = query;
    return 0;
}

const struct feature *feature_set_query_next(struct feature_set_query *query)
{
    if (query->sorted)
        return query->next < query->count ? feature_at(query->set, query->sorted[query->next++]) : NULL;
    while (query->next < end_of(query->set)) {
        const struct feature *feature = feature_at(query->set, query->next);

        query->next += feature->size;
        if (geo_rect_contains(&query->rect, feature->point))
            return feature;
    }
    return NULL;
}

void feature_set_query_close(struct feature_set_query *query)
{
    free(query->sorted);
    *query = (struct feature_set_query){0};
}
