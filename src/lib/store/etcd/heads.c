/* The heads that the view has seen lately. Every transaction puts the head, so its revision and value together name a
 * state of the prefix in one history: an etcd that was restored from a backup, or another one behind the same name, may
 * come to the same revision, but not with the same value. So a read does not trust a revision alone.
 *
 * A linearizable answer that was asked for when the view had a head is that head, or a later one: an earlier one tells
 * of another history, too. Lock: the caller's for etcd_heads_reset to etcd_heads_find; none for the others. */
#include "store_etcd_internal.h"
#include <errno.h>

#define TIMEOUT_MS 1000

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

/* ---- the head that etcd has ---- */

int etcd_head_of(const Etcdserverpb__RangeResponse *response, struct etcd_head *ret_head)
{
    *ret_head = (struct etcd_head){0};
    return response->n_kvs > 0 ? etcd_head_parse(response->kvs[0], ret_head) : 0;
}

struct asked {
    struct etcd_position position;
    int err;
};

static void on_head(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct asked *asked = arg;

    if (err < 0)
        return;
    asked->position.revision = response->header->revision;
    asked->err = etcd_head_of(response, &asked->position.head);
}

int etcd_head_ask(struct etcd *etcd, int64_t revision, struct etcd_position *ret_position)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct asked asked = {.err = 0};
    struct buf key = {0};
    int err;

    etcd_key_name(&etcd->keys, ETCD_HEAD, &key);
    request.key = etcd_data(buf_str(&key));
    request.revision = revision;
    err = buf_error(&key);
    if (err == 0)
        err = etcd_call_wait(&etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, TIMEOUT_MS, on_head,
                             &asked);
    buf_release(&key);
    if (err == 0)
        err = asked.err;
    if (err == 0)
        *ret_position = asked.position;
    return err;
}

int etcd_history_check(struct etcd *etcd, const struct etcd_position *position)
{
    struct etcd_position found;
    int err = etcd_head_ask(etcd, position->revision, &found);

    if (err < 0)
        return err == -EPROTO ? -ERANGE : err;
    return found.head.revision == position->head.revision &&
                   memcmp(&found.head.id, &position->head.id, sizeof(found.head.id)) == 0
               ? 0
               : -ERANGE;
}
