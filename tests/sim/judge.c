#include "judge.h"
#include "cluster.h"
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define OLD_WATCH_NS (10 * CLOCK_NS_PER_S) /* after which no stream of before is left */

static void index_value(struct store_index *index, const struct store_record *record)
{
    char key[16 + STORE_MAX_KEY];
    size_t len = record->value.len < 16 ? record->value.len : 16;

    memcpy(key, record->value.s, len);
    memcpy(key + len, record->key.s, record->key.len);
    store_index_add(index, (struct str){key, len + record->key.len}, STR_NULL);
}

const struct store_table judge_tables[JUDGE_TABLES] = {{"things", index_value, 1}, {"keys", NULL, 0}};

static struct {
    struct judge_request **requests;
    size_t request_count, request_size;
    int64_t floor;     /* what has been acknowledged, or read */
    uint64_t epoch_ns; /* when the epoch began */
    struct judge_counts counts;
} judge;

struct judge_counts judge_counts(void)
{
    return judge.counts;
}

/* ---- etcd's records ---- */

static struct str etcd_path_of(unsigned table, const char *key, char path[64])
{
    return (struct str){path, (size_t)snprintf(path, 64, "/" JUDGE_PREFIX "/%s/%s", judge_tables[table].name, key)};
}

static const struct mvcc_version *record_at(unsigned table, const char *key, int64_t revision)
{
    char path[64];

    return mvcc_at(mvcc_find(cluster_state(), etcd_path_of(table, key, path)), revision);
}

static uint64_t seq_of(const struct mvcc_version *version)
{
    return (uint64_t)version->mod * ETCD_POSITIONS + (uint8_t)version->value.s[1];
}

uint64_t judge_seq(unsigned table, const char *key, int64_t revision)
{
    const struct mvcc_version *found = record_at(table, key, revision);

    return found != NULL ? seq_of(found) : 0;
}

static struct str value_of(const struct mvcc_version *version)
{
    return (struct str){version->value.s + ETCD_ENVELOPE, version->value.len - ETCD_ENVELOPE};
}

/* ---- writes ---- */

size_t judge_value(const struct judge_request *request, unsigned op, char *value, size_t size)
{
    return (size_t)snprintf(value, size, "%llu.%u;", (unsigned long long)request->number, op);
}

static struct judge_request *request_of(struct str value)
{
    char text[32] = "";
    uint64_t number;

    memcpy(text, value.s, value.len < sizeof(text) - 1 ? value.len : sizeof(text) - 1);
    number = strtoull(text, NULL, 10);
    return number > 0 && number <= judge.request_count ? judge.requests[number - 1] : NULL;
}

struct judge_request *judge_begin(uint64_t logical)
{
    struct judge_request *request = sim_alloc(sizeof(*request));

    judge.requests = sim_grown(judge.requests, &judge.request_size, judge.request_count, sizeof(*judge.requests));
    judge.requests[judge.request_count++] = request;
    judge.counts.requests++;
    request->number = judge.request_count;
    request->logical = logical != 0 ? logical : request->number;
    return request;
}

void judge_begun(struct judge_request *request)
{
    request->epoch = cluster_epoch();
    request->begun_revision = cluster_state()->revision;
    sim_note("write %llu (%llu): %s %s%s", (unsigned long long)request->number, (unsigned long long)request->logical,
             request->ops[0].deletes ? "delete" : "put", request->ops[0].key, request->count > 1 ? ", ..." : "");
}

static void saw_value(const struct mvcc_revision *revision, const struct mvcc_version *version)
{
    struct judge_request *request = request_of(value_of(version));
    uint64_t *done_by;

    if (request == NULL)
        sim_violated("revision %lld has a value that nobody has written", (long long)revision->revision);
    if (request->state == JUDGE_FAILED)
        sim_violated("write %llu was said not to be made, and is made at revision %lld",
                     (unsigned long long)request->number, (long long)revision->revision);
    if (request->committed != 0 && request->committed != revision->revision)
        sim_violated("write %llu is done twice: at revisions %lld and %lld", (unsigned long long)request->number,
                     (long long)request->committed, (long long)revision->revision);
    request->committed = revision->revision;
    done_by = &judge.requests[request->logical - 1]->done_by;
    if (*done_by != 0 && *done_by != request->number)
        sim_violated("writes %llu and %llu have one idempotency key, and both are done", (unsigned long long)*done_by,
                     (unsigned long long)request->number);
    *done_by = request->number;
}

static void committed(const struct mvcc_revision *revision)
{
    struct str things = STR("/" JUDGE_PREFIX "/things/"), keys = STR("/" JUDGE_PREFIX "/keys/");

    for (size_t i = 0; i < revision->count; i++) {
        const struct mvcc_change *change = &revision->changes[i];
        struct str key = change->key->key;
        bool is_record = (key.len > things.len && memcmp(key.s, things.s, things.len) == 0) ||
                         (key.len > keys.len && memcmp(key.s, keys.s, keys.len) == 0);

        if (is_record && change->version.version > 0)
            saw_value(revision, &change->version);
    }
}

void judge_start(void)
{
    judge.floor = 1;
    cluster_on_commit(committed);
}

static bool expectation_holds(const struct judge_op *op, const struct mvcc_version *found)
{
    switch (op->expect) {
    case STORE_ABSENT:
        return found == NULL;
    case STORE_PRESENT:
        return found != NULL;
    case STORE_AT:
        return found != NULL && seq_of(found) == op->seq;
    case STORE_ANY:
        break;
    }
    return true;
}

static void check_acknowledged(const struct judge_request *request, uint64_t seq)
{
    int64_t revision = (int64_t)(seq / ETCD_POSITIONS);
    unsigned long long number = request->number;

    if (revision > cluster_state()->revision)
        sim_violated("write %llu is acknowledged with revision %lld, which there is none of", number,
                     (long long)revision);
    for (unsigned i = 0; i < request->count; i++) {
        const struct judge_op *op = &request->ops[i];
        const struct mvcc_version *found = record_at(op->table, op->key, revision);
        char value[32];
        size_t len = judge_value(request, i, value, sizeof(value));

        if (!expectation_holds(op, record_at(op->table, op->key, revision - 1)))
            sim_violated("write %llu is made at revision %lld against its expectation of %s", number,
                         (long long)revision, op->key);
        if (op->deletes && found != NULL)
            sim_violated("write %llu is acknowledged, but at revision %lld %s is there", number, (long long)revision,
                         op->key);
        if (!op->deletes && (found == NULL || seq_of(found) != seq + i || value_of(found).len < len ||
                             memcmp(value_of(found).s, value, len) != 0))
            sim_violated("write %llu is acknowledged, but is not in etcd at revision %lld", number,
                         (long long)revision);
    }
    if (revision > judge.floor)
        judge.floor = revision;
}

static bool failed_as_said(const struct judge_op *op, const struct mvcc_version *found, int err)
{
    return !expectation_holds(op, found) && (err == -EEXIST   ? found != NULL
                                             : err == -ENOENT ? found == NULL
                                                              : found != NULL);
}

/* At some revision during the call the expectation was not met. */
static void check_conflict(const struct judge_request *request, const struct store_result *result)
{
    const struct judge_op *op = &request->ops[result->failed_op];
    const struct mvcc *state = cluster_state();

    if (failed_as_said(op, record_at(op->table, op->key, request->begun_revision), result->err))
        return;
    for (size_t i = mvcc_revision_from(state, request->begun_revision); i < state->revision_count; i++)
        if (failed_as_said(op, record_at(op->table, op->key, state->revisions[i].revision), result->err))
            return;
    sim_violated("write %llu is refused with %s, but its expectation of %s was met all the time",
                 (unsigned long long)request->number, strerror(-result->err), op->key);
}

static bool is_conflict(int err)
{
    return err == -EEXIST || err == -ENOENT || err == -ESTALE;
}

static void check_failed(struct judge_request *request, const struct store_result *result)
{
    if (result->err == -EBADMSG || result->err == -EINVAL)
        sim_violated("write %llu: %s", (unsigned long long)request->number, strerror(-result->err));
    if (request->committed != 0)
        sim_violated("write %llu is said not to be made (%s), but is in etcd at revision %lld",
                     (unsigned long long)request->number, strerror(-result->err), (long long)request->committed);
    if (is_conflict(result->err))
        check_conflict(request, result);
    request->state = JUDGE_FAILED;
}

void judge_end(struct judge_request *request, const struct store_result *result)
{
    sim_note("write %llu ends: %s", (unsigned long long)request->number,
             result->err == 0 ? "done" : strerror(-result->err));
    if (request->state != JUDGE_PENDING)
        sim_violated("write %llu is answered twice", (unsigned long long)request->number);
    request->state = JUDGE_UNKNOWN;
    if (request->epoch != cluster_epoch() || result->err == -EINPROGRESS || result->err == -EIO)
        return;
    if (result->err == 0) {
        check_acknowledged(request, result->seq);
        request->state = JUDGE_ACKNOWLEDGED;
        judge.counts.acknowledged++;
    } else {
        check_failed(request, result);
    }
}

void judge_lost(struct judge_request *request)
{
    request->state = JUDGE_UNKNOWN;
}

/* ---- reads ---- */

struct shown {
    bool found;
    uint64_t seq;
    struct str value;
};

static void key_name(unsigned n, char key[24])
{
    snprintf(key, 24, "k%u", n);
}

static void look(struct store_snapshot *snapshot, struct shown shown[JUDGE_KEYS])
{
    struct store_cursor cursor;
    struct store_record record = {0};
    unsigned count = 0, entries = 0;

    for (unsigned i = 0; i < JUDGE_KEYS; i++) {
        char key[24];
        int err;

        key_name(i, key);
        err = store_get(snapshot, THINGS, str_of(key), &record);
        if (err < 0 && err != -ENOENT)
            sim_violated("a record cannot be read: %s", strerror(-err));
        shown[i] = (struct shown){err == 0, record.seq, record.value};
        count += err == 0;
    }
    if (store_count(snapshot, THINGS) != count)
        sim_violated("a snapshot has %llu records instead of %u", (unsigned long long)store_count(snapshot, THINGS),
                     count);
    if (store_cursor_open(snapshot, THINGS, true, &cursor) < 0)
        sim_violated("no cursor");
    while (store_cursor_next(&cursor, &record) == 0)
        entries++;
    store_cursor_close(&cursor);
    if (entries != count)
        sim_violated("the index has %u entries for %u records", entries, count);
}

static bool is_shown(const struct shown shown[JUDGE_KEYS], int64_t revision)
{
    for (unsigned i = 0; i < JUDGE_KEYS; i++) {
        char key[24];
        const struct mvcc_version *found;

        key_name(i, key);
        found = record_at(THINGS, key, revision);
        if ((found != NULL) != shown[i].found)
            return false;
        if (found != NULL && (seq_of(found) != shown[i].seq || !str_eq(value_of(found), shown[i].value)))
            return false;
    }
    return true;
}

/* The first revision from floor on whose records are shown; 0: none. */
static int64_t find_revision(const struct shown shown[JUDGE_KEYS], int64_t floor)
{
    const struct mvcc *state = cluster_state();

    if (is_shown(shown, floor))
        return floor;
    for (size_t i = mvcc_revision_from(state, floor); i < state->revision_count; i++)
        if (is_shown(shown, state->revisions[i].revision))
            return state->revisions[i].revision;
    return 0;
}

struct judge_read *judge_read_begin(uint64_t max_stale_ms)
{
    struct judge_read *read = sim_alloc(sizeof(*read));

    *read = (struct judge_read){.number = ++judge.counts.reads,
                                .epoch = cluster_epoch(),
                                .floor = judge.floor,
                                .begun_ns = sim_now_ns(),
                                .max_stale_ms = max_stale_ms};
    return read;
}

/* What was committed by then. */
static int64_t floor_of_time(uint64_t then_ns)
{
    const struct mvcc *state = cluster_state();

    for (size_t i = state->revision_count; i > 0; i--)
        if (state->revisions[i - 1].at_ns <= then_ns)
            return state->revisions[i - 1].revision;
    return 1;
}

void judge_read_end(struct judge_read *read, int err, struct store_snapshot *snapshot)
{
    struct shown shown[JUDGE_KEYS];
    uint64_t age_ms, then_ns;
    int64_t floor, revision;

    if (read->ended)
        sim_violated("read %llu is answered twice", (unsigned long long)read->number);
    read->ended = true;
    read->err = err;
    sim_note("read %llu ends: %s", (unsigned long long)read->number, err == 0 ? "done" : strerror(-err));
    if (err < 0)
        return;
    age_ms = store_age_ms(snapshot);
    if (age_ms > read->max_stale_ms)
        sim_violated("read %llu is %llu ms old, and may be %llu", (unsigned long long)read->number,
                     (unsigned long long)age_ms, (unsigned long long)read->max_stale_ms);
    look(snapshot, shown);
    then_ns = read->begun_ns - age_ms * CLOCK_NS_PER_MS; /* its age was found when it began, or later */
    /* What a watch had sent before a snapshot was restored may come later: a view may then have it for a while. */
    if (read->epoch != cluster_epoch() || (age_ms > 0 && then_ns < judge.epoch_ns + OLD_WATCH_NS))
        return;
    floor = age_ms > 0 ? floor_of_time(then_ns) : read->floor;
    revision = find_revision(shown, floor);
    if (revision == 0)
        sim_violated("read %llu shows what was at no revision from %lld on (age %llu ms)",
                     (unsigned long long)read->number, (long long)floor, (unsigned long long)age_ms);
    if (age_ms == 0 && revision > judge.floor)
        judge.floor = revision;
}

bool judge_is_complete(struct store_snapshot *snapshot, int64_t revision)
{
    struct shown shown[JUDGE_KEYS];

    look(snapshot, shown);
    return find_revision(shown, revision) != 0;
}

void judge_check_time(uint64_t deadline_ns, uint64_t pause_until, const char *what, uint64_t number)
{
    uint64_t until_ns = (deadline_ns > pause_until ? deadline_ns : pause_until) + JUDGE_SLACK_NS;

    if (sim_now_ns() > until_ns)
        sim_violated("%s %llu has no answer %llu ms after its deadline", what, (unsigned long long)number,
                     (unsigned long long)((sim_now_ns() - deadline_ns) / CLOCK_NS_PER_MS));
}

/* ---- a snapshot is restored ---- */

void judge_restored(int64_t snapshot_revision)
{
    judge.floor = 1;
    judge.epoch_ns = sim_now_ns();
    for (uint64_t i = 0; i < judge.request_count; i++) {
        struct judge_request *request = judge.requests[i], *logical = judge.requests[request->logical - 1];

        if (request->committed <= snapshot_revision)
            continue;
        request->committed = 0;
        if (logical->done_by == request->number)
            logical->done_by = 0;
    }
}
