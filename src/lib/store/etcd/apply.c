/* What the watch says, put into the view: in the thread of the watch's connection. A transaction of the view holds
 * whole revisions and the position that they lead to. A message does so, too, unless etcd has cut it for its size: then
 * the next one may go on in the middle of a revision. So the transaction stays open between them, until the first event
 * of another revision shows that it is whole. It never grows far beyond a message, however much the view lacks. */
#include "store_etcd_internal.h"
#include <errno.h>

/* ---- transactions ---- */

static int begin(struct etcd *etcd)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    const struct etcd_view *view = etcd->follower.following;
    int err = store_view_begin(view->view, &applying->txn);

    if (err < 0)
        return err;
    applying->position = view->position;
    applying->last_seq = store_view_last_seq(&applying->txn);
    applying->lane = NULL;
    applying->cut = false;
    return 0;
}

static int commit(struct etcd *etcd)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    struct etcd_view *view = etcd->follower.following;
    int err = store_view_set_last_seq(&applying->txn, applying->last_seq);

    if (err == 0)
        err = etcd_position_put(&applying->txn, &applying->position);
    if (err == 0)
        err = store_view_commit(&applying->txn);
    if (err < 0)
        return err;
    view->position = applying->position;
    atomic_store(&etcd->applied, view->position.revision);
    etcd_writer_applied(etcd);
    etcd_reads_applied(etcd);
    return 0;
}

static int begin_revision(struct etcd *etcd, int64_t revision)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    int err = 0;

    if (revision == applying->position.revision)
        return 0;
    if (applying->cut) {
        err = commit(etcd);
        if (err == 0)
            err = begin(etcd);
    }
    applying->position.revision = revision;
    applying->lane = NULL;
    return err;
}

/* ---- events ---- */

static int apply_ours(struct etcd *etcd, bool deleted, struct str name, const Etcdserverpb__KeyValue *kv)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    struct etcd_head *head = &applying->position.head;
    int err = 0;

    if (!deleted && name.len > strlen(ETCD_WRITER) && memcmp(name.s, ETCD_WRITER, strlen(ETCD_WRITER)) == 0)
        applying->lane = etcd_writer_saw(etcd, name, etcd_str(kv->value), kv->mod_revision);
    if (str_eq(name, STR(ETCD_FORMAT)) && (deleted || !etcd_schema_is_ours(etcd, kv)))
        etcd_replaced(etcd);
    if (!str_eq(name, STR(ETCD_HEAD)))
        return 0;
    if (deleted) /* with the whole prefix, by hand */
        *head = (struct etcd_head){0};
    else
        err = etcd_head_parse(kv, head);
    if (err == 0)
        etcd_reads_saw_head(etcd, head);
    return err;
}

static int apply_record(struct etcd *etcd, bool deleted, const Etcdserverpb__KeyValue *kv, unsigned table,
                        struct str key)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    int err;

    if (applying->lane != NULL)
        etcd_writer_saw_record(applying->lane, deleted, table, key,
                               kv->value.len >= ETCD_ENVELOPE ? kv->value.data[1] : 0);
    if (!deleted)
        return etcd_view_put(etcd, &applying->txn, kv, false, &applying->last_seq);
    err = store_view_delete(&applying->txn, table, key);
    return err == -ENOENT ? 0 : err;
}

static int apply_event(struct etcd *etcd, const Etcdserverpb__Event *event)
{
    const Etcdserverpb__KeyValue *kv = event->kv;
    bool deleted = event->type == ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;
    unsigned table;
    struct str key;
    int err;

    if (kv == NULL)
        return -EPROTO;
    err = begin_revision(etcd, kv->mod_revision);
    if (err < 0)
        return err;
    err = etcd_key_parse(&etcd->keys, etcd_str(kv->key), &table, &key);
    if (err == -ENOENT)
        return apply_ours(etcd, deleted, key, kv);
    return err == 0 ? apply_record(etcd, deleted, kv, table, key) : 0;
}

int etcd_apply(struct etcd *etcd, const Etcdserverpb__WatchResponse *response)
{
    struct etcd_applying *applying = &etcd->follower.applying;
    int err = applying->txn.txn == NULL ? begin(etcd) : 0;

    for (size_t i = 0; i < response->n_events && err == 0; i++)
        err = apply_event(etcd, response->events[i]);
    if (response->n_events == 0 && err == 0) /* a progress notification: all up to that has been sent */
        err = begin_revision(etcd, response->header->revision);
    applying->cut = response->fragment;
    if (err == 0 && !applying->cut)
        err = commit(etcd);
    if (err < 0)
        etcd_apply_abandon(etcd);
    return err;
}

void etcd_apply_abandon(struct etcd *etcd)
{
    store_view_abort(&etcd->follower.applying.txn);
}
