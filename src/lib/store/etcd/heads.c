/* The heads that the view has seen lately. Every transaction puts the head, so its revision and value together name a
 * state of the prefix in one history: an etcd that was restored from a backup, or another one behind the same name, may
 * come to the same revision, but not with the same value. So a read does not trust a revision alone.
 *
 * A linearizable answer that was asked for when the view had a head is that head, or a later one: an earlier one tells
 * of another history, too. Lock: the caller's, but for etcd_heads_doubt. */
#include "store_etcd_internal.h"

static struct etcd_head *at(struct etcd_heads *heads, size_t back)
{
    return &heads->ring[(heads->last + ETCD_HEADS - back) % ETCD_HEADS];
}

void etcd_heads_reset(struct etcd_heads *heads, const struct etcd_head *head)
{
    heads->last = 0;
    heads->count = 1;
    heads->ring[0] = *head;
}

void etcd_heads_add(struct etcd_heads *heads, const struct etcd_head *head)
{
    while (heads->count > 0 && at(heads, 0)->revision >= head->revision) { /* it comes again, with those behind it */
        heads->last = (heads->last + ETCD_HEADS - 1) % ETCD_HEADS;
        heads->count--;
    }
    heads->last = (heads->last + 1) % ETCD_HEADS;
    heads->count += heads->count < ETCD_HEADS;
    *at(heads, 0) = *head;
}

int64_t etcd_heads_last(struct etcd_heads *heads)
{
    return heads->count > 0 ? at(heads, 0)->revision : 0;
}

enum etcd_history etcd_heads_find(struct etcd_heads *heads, const struct etcd_head *head)
{
    for (size_t back = 0; back < heads->count; back++) {
        const struct etcd_head *seen = at(heads, back);

        if (seen->revision == head->revision)
            return memcmp(&seen->id, &head->id, sizeof(head->id)) == 0 ? ETCD_SAME_HISTORY : ETCD_OTHER_HISTORY;
        if (seen->revision < head->revision)
            return ETCD_OTHER_HISTORY;
    }
    return ETCD_UNKNOWN_HISTORY;
}

void etcd_heads_doubt(struct etcd *etcd)
{
    pthread_mutex_lock(&etcd->mutex);
    etcd->follower.doubted = true;
    etcd->world->wake(&etcd->changed);
    pthread_mutex_unlock(&etcd->mutex);
}
