/* kdtree -- which points lie in a rectangle, in O(sqrt(n) + k): a balanced k-d tree without pointers. A range of the
 * array is a subtree, its middle the root, whose coordinate (latitude and longitude by turns) divides the two halves.
 *
 * Built once, then only read: any thread.
 */
#pragma once
#include "geo.h"
#include <stddef.h>

struct kdtree_node {
    struct geo_point point;
    uint32_t index; /* the caller's */
};

/* Puts the nodes into the tree's order: O(n log n), in place. */
void kdtree_build(struct kdtree_node *nodes, size_t count);

/* Calls found(arg, index) for every node in the rectangle, in no particular order; stops at the first false and returns
 * it. */
bool kdtree_search(const struct kdtree_node *nodes, size_t count, const struct geo_rect *rect,
                   bool (*found)(void *arg, uint32_t index), void *arg);
