/* Reads. A linearizable one is asked for with all that have come since the last question was sent: etcd's answer names
 * the head of the prefix, its last revision, and when the view has that, the reads are made. So none waits for another
 * prefix's writes, and a question is shared by as many readers as there are. The view must have seen that very head
 * (heads.c); where it has not, the follower looks whether etcd has another history, and the reads are asked for again.
 */
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
    struct etcd_head head; /* WAITING: that it needs */
    int err;               /* of one that ends */
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
        bool has = read->head.revision > 0 && read->head.revision <= applied;

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
    bool usable = view != NULL && !atomic_load(&etcd->replaced);
    int err = usable ? store_view_snapshot_take(view->view, &snapshot) : -EIO; /* no view: all have failed */

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
        question->begun_head = etcd_heads_last(&reads->heads);
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

/* Under the lock: asked for again, before those that have come since. */
static void take_back(struct etcd_reads *reads, struct etcd_read_list *list, uint64_t now_ns)
{
    for (struct etcd_read *read = list->first; read != NULL; read = read->next)
        read->head = (struct etcd_head){0};
    list_move(list, &reads->fresh);
    list_move(&reads->fresh, list);
    reads->retry_ns = now_ns + RETRY_NS;
}

static void note_fresh(struct etcd_reads *reads, uint64_t begun_ns)
{
    if (begun_ns > reads->fresh_ns)
        reads->fresh_ns = begun_ns;
}

/* Under the lock. What etcd's history is by its answer, as far as the view has come. revision: etcd's own, then. */
static enum etcd_history take_answer(struct etcd *etcd, struct etcd_question *question, const struct etcd_head *head,
                                     int64_t revision, uint64_t now_ns, struct etcd_read_list *ended)
{
    struct etcd_reads *reads = &etcd->reads;
    enum etcd_history history = ETCD_OTHER_HISTORY;
    int64_t last = etcd_heads_last(&reads->heads);

    if (head->revision > atomic_load(&etcd->applied)) {
        for (struct etcd_read *read = question->reads.first; read != NULL; read = read->next)
            read->head = *head;
        list_move(&reads->waiting, &question->reads);
        if (reads->next.revision == 0) {
            reads->next = *head;
            reads->next_ns = question->begun_ns;
        }
        return ETCD_SAME_HISTORY;
    }
    /* Where etcd had come to the view's last head, its head was that one or a later one. */
    if (head->revision >= question->begun_head && (head->revision >= last || revision < last))
        history = etcd_heads_find(&reads->heads, head);
    if (history == ETCD_SAME_HISTORY) {
        note_fresh(reads, question->begun_ns);
        list_move(ended, &question->reads);
    } else {
        take_back(reads, &question->reads, now_ns);
    }
    return history;
}

static void on_head(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;
    struct etcd_question *question = arg, *next;
    struct etcd *etcd = question->etcd;
    struct etcd_reads *reads = &etcd->reads;
    uint64_t now_ns = etcd->world->monotonic_ns();
    enum etcd_history history = ETCD_SAME_HISTORY;
    struct etcd_read_list ended;
    struct etcd_head head;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    if (err < 0 || etcd_head_of(response, &head) < 0)
        take_back(reads, &question->reads, now_ns);
    else
        history = take_answer(etcd, question, &head, response->header->revision, now_ns, &ended);
    question->under_way = false;
    /* Readers ask for more, mostly: one question for these and for those that wait already costs half of two. */
    next = ended.first == NULL ? next_question(reads, now_ns, false) : NULL;
    pthread_mutex_unlock(&reads->mutex);
    if (history == ETCD_OTHER_HISTORY)
        etcd_heads_doubt(etcd);
    ask(etcd, next);
    end_reads(etcd, &ended);
}

/* ---- the view has come further ---- */

void etcd_reads_saw_head(struct etcd *etcd, const struct etcd_head *head)
{
    pthread_mutex_lock(&etcd->reads.mutex);
    etcd_heads_add(&etcd->reads.heads, head);
    pthread_mutex_unlock(&etcd->reads.mutex);
}

/* What waits may have been told of another history. */
void etcd_reads_restart(struct etcd *etcd, const struct etcd_position *position)
{
    struct etcd_reads *reads = &etcd->reads;

    pthread_mutex_lock(&reads->mutex);
    etcd_heads_reset(&reads->heads, &position->head);
    reads->next = (struct etcd_head){0};
    take_back(reads, &reads->waiting, etcd->world->monotonic_ns());
    pthread_mutex_unlock(&reads->mutex);
}

/* Those that have come to a head of another history are asked for again. Returns whether there are any. */
static bool take_others(struct etcd_reads *reads, struct etcd_read_list *ended, uint64_t now_ns)
{
    struct etcd_read_list rest, others;
    struct etcd_read *read, *next;
    bool other;

    list_init(&rest);
    list_init(&others);
    for (read = ended->first; read != NULL; read = next) {
        next = read->next;
        list_add(read->err < 0 || etcd_heads_find(&reads->heads, &read->head) == ETCD_SAME_HISTORY ? &rest : &others,
                 read);
    }
    list_init(ended);
    list_move(ended, &rest);
    other = others.first != NULL;
    if (other)
        take_back(reads, &others, now_ns);
    return other;
}

void etcd_reads_applied(struct etcd *etcd)
{
    struct etcd_reads *reads = &etcd->reads;
    int64_t applied = atomic_load(&etcd->applied);
    struct etcd_read_list ended;
    bool other;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    if (reads->next.revision != 0 && reads->next.revision <= applied) {
        if (etcd_heads_find(&reads->heads, &reads->next) == ETCD_SAME_HISTORY)
            note_fresh(reads, reads->next_ns);
        reads->next = (struct etcd_head){0};
    }
    list_take_due(&reads->waiting, &ended, applied, 0, 0);
    other = take_others(reads, &ended, etcd->world->monotonic_ns());
    pthread_mutex_unlock(&reads->mutex);
    if (other)
        etcd_heads_doubt(etcd);
    end_reads(etcd, &ended);
}

/* ---- what time brings ---- */

bool etcd_reads_tick(struct etcd *etcd, uint64_t now_ns)
{
    struct etcd_reads *reads = &etcd->reads;
    int64_t applied = atomic_load(&etcd->applied);
    bool away = etcd_is_away(&etcd->client, now_ns), busy, other;
    uint64_t until_ns = away ? UINT64_MAX : now_ns; /* nobody waits for an etcd that is away */
    int late = away ? -EHOSTUNREACH : -ETIMEDOUT;
    struct etcd_question *question;
    struct etcd_read_list ended;
    uint64_t fresh_ns;

    list_init(&ended);
    pthread_mutex_lock(&reads->mutex);
    list_take_due(&reads->waiting, &ended, applied, now_ns, late);
    other = take_others(reads, &ended, now_ns);
    list_take_due(&reads->fresh, &ended, applied, until_ns, late);
    for (unsigned i = 0; i < ETCD_QUESTIONS; i++)
        list_take_due(&reads->questions[i].reads, &ended, applied, until_ns, late);
    question = next_question(reads, now_ns, now_ns >= reads->asked_ns + PULSE_NS);
    fresh_ns = reads->fresh_ns;
    busy = reads->count > 0;
    pthread_mutex_unlock(&reads->mutex);
    if (other)
        etcd_heads_doubt(etcd);
    etcd_fresh_put(etcd, fresh_ns);
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
    if (max_stale_ms > 0 && !atomic_load(&etcd->replaced) && etcd_reads_age(etcd, &age_ms) && age_ms <= max_stale_ms) {
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
    else if (atomic_load(&etcd->replaced))
        err = -EIO;
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
