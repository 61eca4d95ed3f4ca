/* Reads. A linearizable one is asked for with all that have come since the last question was sent: etcd's answer names
 * the last revision of the prefix, and when the view has that, the reads are made. So none waits for another prefix's
 * writes, and a question is shared by as many readers as there are. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_READS      16384
#define SNAPSHOT_READS 64
#define TIMEOUT_MS     1000
#define RETRY_NS       (20 * CLOCK_NS_PER_MS)
#define PULSE_NS       (1 * CLOCK_NS_PER_S) /* between questions, at most */

struct etcd_read {
    struct etcd_read *next;
    uint64_t deadline_ns;
    int64_t revision; /* WAITING: that it needs */
    int err;          /* of one that ends */
    store_reader *read;
    void *arg;
};

/* ---- lists ---- */

static void list_init(struct etcd_read_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_add(struct etcd_read_list *list, struct etcd_read *read)
{
    read->next = NULL;
    *list->last = read;
    list->last = &read->next;
}

/* All of one list behind another. */
static void list_move(struct etcd_read_list *to, struct etcd_read_list *from)
{
    if (from->first == NULL)
        return;
    *to->last = from->first;
    to->last = from->last;
    list_init(from);
}

/* Moves what is due in list (by a revision that the view has, or a deadline) to ended. */
static void list_take_due(struct etcd_read_list *list, struct etcd_read_list *ended, int64_t applied, uint64_t now_ns,
                          int late)
{
    struct etcd_read_list rest;
    struct etcd_read *read, *next;

    list_init(&rest);
    for (read = list->first; read != NULL; read = next) {
        bool has = read->revision > 0 && read->revision <= applied;

        next = read->next;
        if (!has && read->deadline_ns <= now_ns)
            read->err = late;
        list_add(has || read->err < 0 ? ended : &rest, read);
    }
    list_init(list);
    list_move(list, &rest);
}

/* ---- making them: without the lock ---- */

static void read_view(struct etcd *etcd, uint64_t age_ms, store_reader *read, void *arg)
{
    struct etcd_view *view = etcd_view_ref(etcd);
    struct store_snapshot *snapshot;
    int err = store_view_snapshot_take(view->view, &snapshot);

    if (err < 0) {
        read(arg, err, NULL);
    } else {
        store_view_snapshot_set_age(snapshot, age_ms);
        read(arg, 0, snapshot);
        store_view_snapshot_give(snapshot);
    }
    etcd_view_unref(etcd, view);
}

/* The first few, of one snapshot: not all of them, or it would keep pages from being used again for long. Returns what
 * is left. */
static struct etcd_read *end_some(struct etcd *etcd, struct etcd_read *read)
{
    struct etcd_view *view = etcd_view_ref(etcd);
    struct store_snapshot *snapshot = NULL;
    int err = view != NULL ? store_view_snapshot_take(view->view, &snapshot) : -EIO; /* no view: all have failed */

    if (err == 0)
        store_view_snapshot_set_age(snapshot, 0);
    for (unsigned i = 0; i < SNAPSHOT_READS && read != NULL; i++) {
        struct etcd_read *next = read->next;
        int failed = read->err < 0 ? read->err : err;

        read->read(read->arg, failed, failed < 0 ? NULL : snapshot);
        free(read);
        read = next;
    }
    if (err == 0)
        store_view_snapshot_give(snapshot);
    etcd_view_unref(etcd, view);
    return read;
}

/* ---- questions ---- */

/* Under the lock: the question to send now, if there is one. */
static struct etcd_question *next_question(struct etcd_reads *reads, uint64_t now_ns, bool pulse)
{
    if ((reads->fresh.first == NULL && !pulse) || reads->retry_ns > now_ns || reads->closed)
        return NULL;
    for (unsigned i = 0; i < ETCD_QUESTIONS; i++) {
        struct etcd_question *question = &reads->questions[i];

        if (question->under_way)
            continue;
        question->under_way = true;
        question->begun_ns = reads->asked_ns = now_ns;
        list_move(&question->reads, &reads->fresh);
        return question;
    }
    return NULL;
}

static void on_head(void *arg, int err, const ProtobufCMessage *reply);

static void ask(struct etcd *etcd, struct etcd_question *question)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char key[sizeof(etcd->keys.prefix) + sizeof(ETCD_HEAD)];

    if (question == NULL)
        return;
    strcpy(stpcpy(key, etcd->keys.prefix), ETCD_HEAD);
    request.key = etcd_data(str_of(key));
    request.keys_only = true;
    etcd_call(&etcd->client, &etcdserverpb__kv__descriptor, "Range", &request.base, TIMEOUT_MS, on_head, question);
}

/* Set while readers are called: what they ask for waits until all have been, and goes in one question. */
static _Thread_local const struct etcd_reads *ending;

static void ask_next(struct etcd *etcd)
{
    struct etcd_reads *reads = &etcd->reads;
    struct etcd_question *question;

    pthread_mutex_lock(&reads->mutex);
    question = next_question(reads, etcd->world->monotonic_ns(), false);
    pthread_mutex_unlock(&reads->mutex);
    ask(etcd, question);
}

static void end_reads(struct etcd *etcd, const struct etcd_read_list *ended)
{
    struct etcd_read *read = ended->first;
    size_t count = 0;

    for (; read != NULL; read = read->next)
        count++;
    if (count == 0)
        return;
    pthread_mutex_lock(&etcd->reads.mutex);
    etcd->reads.count -= count;
    pthread_mutex_unlock(&etcd->reads.mutex);
    ending = &etcd->reads;
    for (read = ended->first; read != NULL;)
        read = end_some(etcd, read);
    ending = NULL;
    ask_next(etcd);
}

/* The view has all of before begun_ns when it has that revision. */
static void note_fresh(struct etcd_reads *reads, int64_t revision, int64_t applied, uint64_t begun_ns)
{
    if (revision <= applied) {
        if (begun_ns > reads->fresh_ns)
            reads->fresh_ns = begun_ns;
    } else if (reads->next_revision == 0) {
        reads->next_revision = revision;
        reads->next_ns = begun_ns;
    }
}

/* Under the lock. */
static void take_answer(struct etcd *etcd, struct etcd_question *question, int64_t revision,
                        struct etcd_read_list *ended)
{
    struct etcd_reads *reads = &etcd->reads;
    int64_t applied = atomic_load(&etcd->applied);

    note_fresh(reads, revision, applied, question->begun_ns);
    for (struct etcd_read *read = question->reads.first; read != NULL; read = read->next)
        read->revision = revision;
    list_move(revision <= applied ? ended : &reads->waiting, &question->reads);
}

/* Under the lock: they are asked for again, before those that have come since. */
static void take_back(struct etcd_reads *reads, struct etcd_question *question, uint64_t now_ns)
{
    list_move(&question->reads, &reads->fresh);
    list_move(&reads->fresh, &question->reads);
    reads->retry_ns = now_ns + RETRY_NS;
}

static void on_head(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct etcd_question *question = arg, *next;
    struct etcd *etcd = question->etcd;
    struct etcd_reads *reads = &etcd->reads;
    uint64_t now_ns = etcd->world->monotonic_ns();
    struct etcd_read_list ended;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    if (err < 0)
        take_back(reads, question, now_ns);
    else
        take_answer(etcd, question, response->n_kvs > 0 ? response->kvs[0]->mod_revision : 1, &ended);
    question->under_way = false;
    /* Readers ask for more, mostly: one question for these and for those that wait already costs half of two. */
    next = ended.first == NULL ? next_question(reads, now_ns, false) : NULL;
    pthread_mutex_unlock(&reads->mutex);
    ask(etcd, next);
    end_reads(etcd, &ended);
}

/* ---- the view has come further ---- */

void etcd_reads_applied(struct etcd *etcd)
{
    struct etcd_reads *reads = &etcd->reads;
    int64_t applied = atomic_load(&etcd->applied);
    struct etcd_read_list ended;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    if (reads->next_revision != 0 && reads->next_revision <= applied) {
        reads->fresh_ns = reads->next_ns > reads->fresh_ns ? reads->next_ns : reads->fresh_ns;
        reads->next_revision = 0;
    }
    list_take_due(&reads->waiting, &ended, applied, 0, 0);
    pthread_mutex_unlock(&reads->mutex);
    end_reads(etcd, &ended);
}

/* ---- what time brings ---- */

bool etcd_reads_tick(struct etcd *etcd, uint64_t now_ns)
{
    struct etcd_reads *reads = &etcd->reads;
    int64_t applied = atomic_load(&etcd->applied);
    bool away = etcd_is_away(&etcd->client, now_ns), busy;
    uint64_t until_ns = away ? UINT64_MAX : now_ns; /* nobody waits for an etcd that is away */
    int late = away ? -EHOSTUNREACH : -ETIMEDOUT;
    struct etcd_question *question;
    struct etcd_read_list ended;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    list_take_due(&reads->waiting, &ended, applied, now_ns, late);
    list_take_due(&reads->fresh, &ended, applied, until_ns, late);
    for (unsigned i = 0; i < ETCD_QUESTIONS; i++)
        list_take_due(&reads->questions[i].reads, &ended, applied, until_ns, late);
    question = next_question(reads, now_ns, now_ns >= reads->asked_ns + PULSE_NS);
    busy = reads->count > 0;
    pthread_mutex_unlock(&reads->mutex);
    ask(etcd, question);
    end_reads(etcd, &ended);
    return busy;
}

/* ---- reading ---- */

bool etcd_reads_age(struct etcd *etcd, uint64_t *ret_age_ms)
{
    uint64_t fresh_ns, now_ns = etcd->world->monotonic_ns();

    pthread_mutex_lock(&etcd->reads.mutex);
    fresh_ns = etcd->reads.fresh_ns;
    pthread_mutex_unlock(&etcd->reads.mutex);
    if (fresh_ns == 0)
        return false;
    *ret_age_ms = (now_ns > fresh_ns ? now_ns - fresh_ns : 0) / CLOCK_NS_PER_MS + 1;
    return true;
}

void etcd_read(struct etcd *etcd, uint64_t deadline_ns, uint64_t max_stale_ms, store_reader *read, void *arg)
{
    struct store_fault_read fault = {.max_stale_ms = max_stale_ms};
    struct etcd_reads *reads = &etcd->reads;
    struct etcd_question *question = NULL;
    struct etcd_read *waiting;
    uint64_t age_ms;
    int err = 0;

    if (store_fault(STORE_FAULT_READ, &fault))
        return;
    max_stale_ms = fault.max_stale_ms;
    if (max_stale_ms > 0 && etcd_reads_age(etcd, &age_ms) && age_ms <= max_stale_ms) {
        read_view(etcd, age_ms, read, arg);
        return;
    }
    waiting = malloc(sizeof(*waiting));
    if (waiting == NULL) {
        read(arg, -ENOMEM, NULL);
        return;
    }
    *waiting = (struct etcd_read){.deadline_ns = deadline_ns, .read = read, .arg = arg};
    pthread_mutex_lock(&reads->mutex);
    if (reads->closed)
        err = -ECANCELED;
    else if (reads->count == MAX_READS)
        err = -EAGAIN;
    if (err == 0) {
        reads->count++;
        list_add(&reads->fresh, waiting);
        if (ending != reads)
            question = next_question(reads, etcd->world->monotonic_ns(), false);
    }
    pthread_mutex_unlock(&reads->mutex);
    ask(etcd, question);
    if (err < 0) {
        free(waiting);
        read(arg, err, NULL);
    }
}

void etcd_reads_init(struct etcd *etcd)
{
    struct etcd_reads *reads = &etcd->reads;

    pthread_mutex_init(&reads->mutex, NULL);
    list_init(&reads->fresh);
    list_init(&reads->waiting);
    for (unsigned i = 0; i < ETCD_QUESTIONS; i++) {
        reads->questions[i].etcd = etcd;
        list_init(&reads->questions[i].reads);
    }
}

void etcd_reads_close(struct etcd *etcd)
{
    struct etcd_reads *reads = &etcd->reads;
    struct etcd_read_list ended;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    reads->closed = true;
    list_take_due(&reads->waiting, &ended, 0, UINT64_MAX, -ECANCELED);
    list_take_due(&reads->fresh, &ended, 0, UINT64_MAX, -ECANCELED);
    for (unsigned i = 0; i < ETCD_QUESTIONS; i++)
        list_take_due(&reads->questions[i].reads, &ended, 0, UINT64_MAX, -ECANCELED);
    pthread_mutex_unlock(&reads->mutex);
    end_reads(etcd, &ended);
}
