#include "kdtree.h"

#define LEAF 8 /* nodes that are rather looked at one by one than divided */

enum axis { LATITUDE, LONGITUDE };

static int32_t coordinate(struct geo_point point, enum axis axis)
{
    return axis == LATITUDE ? point.latitude : point.longitude;
}

static void swap(struct kdtree_node *a, struct kdtree_node *b)
{
    struct kdtree_node t = *a;

    *a = *b;
    *b = t;
}

static int32_t median_of_three(int32_t a, int32_t b, int32_t c)
{
    if (a > b)
        return median_of_three(b, a, c);
    return c < a ? a : c > b ? b : c;
}

/* Quickselect with Hoare's partition, which stays balanced when many are equal: afterwards no node before target is
 * greater than it, none behind it less. */
static void select_node(struct kdtree_node *nodes, ptrdiff_t count, ptrdiff_t target, enum axis axis)
{
    ptrdiff_t lo = 0, hi = count - 1;

    while (lo < hi) {
        int32_t pivot = median_of_three(coordinate(nodes[lo].point, axis), coordinate(nodes[target].point, axis),
                                        coordinate(nodes[hi].point, axis));
        ptrdiff_t i = lo, j = hi;

        while (i <= j) {
            while (coordinate(nodes[i].point, axis) < pivot)
                i++;
            while (coordinate(nodes[j].point, axis) > pivot)
                j--;
            if (i <= j)
                swap(&nodes[i++], &nodes[j--]);
        }
        if (target <= j)
            hi = j;
        else if (target >= i)
            lo = i;
        else
            return;
    }
}

static void build(struct kdtree_node *nodes, size_t count, enum axis axis)
{
    while (count > LEAF) {
        size_t middle = count / 2;

        select_node(nodes, (ptrdiff_t)count, (ptrdiff_t)middle, axis);
        axis = !axis;
        build(nodes, middle, axis);
        nodes += middle + 1;
        count -= middle + 1;
    }
}

void kdtree_build(struct kdtree_node *nodes, size_t count)
{
    build(nodes, count, LATITUDE);
}

struct search {
    struct geo_rect rect;
    bool (*found)(void *arg, uint32_t index);
    void *arg;
};

static bool visit(const struct search *search, const struct kdtree_node *node)
{
    return !geo_rect_contains(&search->rect, node->point) || search->found(search->arg, node->index);
}

static bool search_part(const struct search *search, const struct kdtree_node *nodes, size_t count, enum axis axis)
{
    while (count > LEAF) {
        size_t middle = count / 2;
        int32_t divider = coordinate(nodes[middle].point, axis);
        bool before = coordinate(search->rect.lo, axis) <= divider;
        bool behind = coordinate(search->rect.hi, axis) >= divider;

        axis = !axis;
        if (before && !search_part(search, nodes, middle, axis))
            return false;
        if (!visit(search, &nodes[middle]))
            return false;
        if (!behind)
            return true;
        nodes += middle + 1;
        count -= middle + 1;
    }
    for (size_t i = 0; i < count; i++)
        if (!visit(search, &nodes[i]))
            return false;
    return true;
}

bool kdtree_search(const struct kdtree_node *nodes, size_t count, const struct geo_rect *rect,
                   bool (*found)(void *arg, uint32_t index), void *arg)
{
    struct search search = {.rect = *rect, .found = found, .arg = arg};

    return search_part(&search, nodes, count, LATITUDE);
}
