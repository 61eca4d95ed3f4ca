/* A case has keys of its own and revisions of its own: +N is the Nth after those that were there when it began. Steps:
 *
 *   put K V | del K [END] | if C... then OP... else OP... end
 *       a transaction; C is K=R, K>R, K<R or K!R, which compare the revision of the last change; OP is one of these, or
 *       get K
 *   get K [END] [@R] [limit N] [keys] [count]
 *   compact R | alarms | disarm | defragment | quota
 *   watch R      begins a watch of all keys of the case from a revision on, in the place of the one before
 *   events       what it says up to the last revision; or how it ends
 *   progress     asks for a notification of progress; its revision
 *   big N        N transactions of three values of 400 KB; afterwards revisions count from here
 *   pieces       as events, telling only whether messages were cut, and came whole and in order all the same
 *   fill         puts values of 1 MiB until one is refused; afterwards revisions count from here
 *   race         puts 24 values of 1 MiB at once: whether one that was refused is there
 *
 * What cannot be provoked in a real etcd at a moment of one's choosing is left out of the table: lost answers, changes
 * of the leader, members that lag behind, and a restored snapshot, which scripts/backup makes with etcdutl. */
#include "conformance.h"
#include "../unit/etcd_cluster.h"
#include "mutex.h"
#include "network.h"
#include <semaphore.h>
#include <stdarg.h>

#define MAX_STEPS 12
#define BIG       (400 * 1000)
#define FILL      (1 << 20)
#define RACE      24
#define QUOTA     (16 << 20)

#define COMPACTED "error 11 etcdserver: mvcc: required revision has been compacted"
#define FUTURE    "error 11 etcdserver: mvcc: required revision is a future revision"
#define FULL      "error 8 etcdserver: mvcc: database space exceeded"

struct step {
    const char *request, *expected;
};

struct test_case {
    const char *name;
    struct step steps[MAX_STEPS];
};

static const struct test_case cases[] = {
    {"a put makes a revision",
     {{"put a 1", "+1 yes(ok)"},
      {"put a 2", "+2 yes(ok)"},
      {"put b 1", "+3 yes(ok)"},
      {"get a", "+3 {a=2 created+1 changed+2 version2} count 1"},
      {"get b", "+3 {b=1 created+3 changed+3 version1} count 1"},
      {"get c", "+3 {} count 0"}}},
    {"a range is in the order of keys, without its end",
     {{"if then put b 2 put a 1 put c 3 else end", "+1 yes(ok, ok, ok)"},
      {"get a c", "+1 {a=1 created+1 changed+1 version1, b=2 created+1 changed+1 version1} count 2"},
      {"get a z limit 2", "+1 {a=1 created+1 changed+1 version1, b=2 created+1 changed+1 version1} count 3 more"},
      {"get a z limit 3 keys", "+1 {a= created+1 changed+1 version1, b= created+1 changed+1 version1, c= created+1 "
                               "changed+1 version1} count 3"},
      {"get a z count", "+1 {} count 3"},
      {"get x z", "+1 {} count 0"}}},
    {"a deleted key begins anew",
     {{"put a 1", "+1 yes(ok)"},
      {"del a", "+2 yes(deleted 1)"},
      {"get a", "+2 {} count 0"},
      {"get a @+1", "+2 {a=1 created+1 changed+1 version1} count 1"},
      {"put a 2", "+3 yes(ok)"},
      {"get a", "+3 {a=2 created+3 changed+3 version1} count 1"}}},
    {"what changes nothing makes no revision",
     {{"put a 1", "+1 yes(ok)"},
      {"del b", "+1 yes(deleted 0)"},
      {"if a=0 then put a 2 else get a end", "+1 no({a=1 created+1 changed+1 version1} count 1)"},
      {"if then get a else end", "+1 yes({a=1 created+1 changed+1 version1} count 1)"},
      {"put a 1", "+2 yes(ok)"}}},
    {"comparisons",
     {{"put a 1", "+1 yes(ok)"},
      {"if a=+1 then put b 1 else end", "+2 yes(ok)"},
      {"if a>+1 then else get a end", "+2 no({a=1 created+1 changed+1 version1} count 1)"},
      {"if a<+2 a>0 then del a else end", "+3 yes(deleted 1)"},
      {"if a=0 then else end", "+3 yes()"},
      {"if a!0 then else end", "+3 no()"},
      {"if c=0 b=+2 then put c 1 del b else end", "+4 yes(ok, deleted 1)"}}},
    {"nested transactions are decided by the state before the whole",
     {{"if then put a 1 if a=0 then put b 1 else get a end else end", "+1 yes(ok, yes(ok))"},
      {"if then del a if a>0 then put c 1 else end else end", "+2 yes(deleted 1, yes(ok))"},
      {"if then put d 1 if d>0 then put e 1 else get d end else end",
       "+3 yes(ok, no({d=1 created+3 changed+3 version1} count 1))"},
      {"get a z keys", "+3 {b= created+1 changed+1 version1, c= created+2 changed+2 version1, d= created+3 changed+3 "
                       "version1} count 3"}}},
    {"a key is put once in a transaction",
     {{"if then put a 1 put a 2 else end", "error 3 etcdserver: duplicate key given in txn request"},
      {"if then put a 1 if then put a 2 else end else end", "error 3 etcdserver: duplicate key given in txn request"},
      {"get a", "+0 {} count 0"}}},
    {"compaction",
     {{"put a 1", "+1 yes(ok)"},
      {"put a 2", "+2 yes(ok)"},
      {"put a 3", "+3 yes(ok)"},
      {"compact +2", "+3"},
      {"get a @+1", COMPACTED},
      {"get a @+2", "+3 {a=2 created+1 changed+2 version2} count 1"},
      {"get a @+4", FUTURE},
      {"compact +2", COMPACTED},
      {"compact +9", FUTURE},
      {"get a", "+3 {a=3 created+1 changed+3 version3} count 1"}}},
    {"a watch says all that has changed, in order",
     {{"put a 1", "+1 yes(ok)"},
      {"watch +1", "created"},
      {"events", "put a=1 +1"},
      {"if then put c 3 put b 2 del a else end", "+2 yes(ok, ok, deleted 1)"},
      {"put a 4", "+3 yes(ok)"},
      {"events", "put c=3 +2, put b=2 +2, del a +2, put a=4 +3"},
      {"watch +2", "created"},
      {"events", "put c=3 +2, put b=2 +2, del a +2, put a=4 +3"}}},
    {"a watch may begin in the future",
     {{"watch +2", "created"}, {"put a 1", "+1 yes(ok)"}, {"put a 2", "+2 yes(ok)"}, {"events", "put a=2 +2"}}},
    {"a notification of progress comes behind the events",
     {{"watch +1", "created"}, {"put a 1", "+1 yes(ok)"}, {"events", "put a=1 +1"}, {"progress", "+1"}}},
    {"a watch of what is compacted ends",
     {{"put a 1", "+1 yes(ok)"},
      {"put a 2", "+2 yes(ok)"},
      {"put a 3", "+3 yes(ok)"},
      {"compact +3", "+3"},
      {"watch +1", "created"},
      {"events", "compacted +3"},
      {"watch +3", "created"},
      {"events", "put a=3 +3"}}},
    {"long messages are cut, in the middle of a revision, too",
     {{"big 8", "done"}, {"pieces", "cut, whole, in order"}}},
};

/* In an etcd with a quota of 16 MiB. */
static const struct test_case full_cases[] = {
    {"what is refused by a full etcd may have been done", {{"race", "refused, and there"}, {"alarms", "NOSPACE"}}},
    {"a full etcd refuses what puts, and nothing else",
     {{"fill", FULL},
      {"put a 1", FULL},
      {"if then if then put a 1 else end else end", FULL},
      {"if a>0 then put a 1 else get a end", FULL},
      {"if then get a else end", "+0 yes({} count 0)"},
      {"del a", "+0 yes(deleted 0)"},
      {"del filled0", "+1 yes(deleted 1)"},
      {"alarms", "NOSPACE"},
      {"compact +1", "+1"},
      {"put a 1", FULL}}},
    {"room is made by deletion, compaction, defragmentation and disarming",
     {{"fill", FULL},
      {"del filled filled~", "+1 yes(deleted)"},
      {"compact +1", "+1"},
      {"defragment", "done"},
      {"put a 1", FULL},
      {"alarms", "NOSPACE"},
      {"disarm", "NOSPACE"},
      {"put a 1", "+2 yes(ok)"},
      {"alarms", "none"}}},
    {"the quota is told", {{"quota", "16777216"}}},
};

/* ---- a run ---- */

struct event {
    char text[64];
    int64_t revision;
};

static struct {
    const struct etcd_world *world;
    struct rpc_client *client, *watch_client;
    struct rpc_stream *stream;
    unsigned number; /* of the case */
    int64_t base, revision;
    struct buf out;
    uint64_t alarmed; /* a member */

    /* Of a call. */
    sem_t done;

    /* Of the watch, under the mutex. */
    pthread_mutex_t mutex;
    sem_t said;
    struct event events[256];
    size_t event_count, taken;
    bool created, cut, ended;
    int64_t compacted, progress;
} c = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(&c.out, format, args);
    va_end(args);
}

static void say_revision(int64_t revision)
{
    say("%s%lld", revision >= c.base ? "+" : "", (long long)(revision - c.base));
}

/* ---- the words of a step ---- */

struct words {
    const char *rest;
};

static bool next_word(struct words *words, char word[64])
{
    size_t len;

    words->rest += strspn(words->rest, " ");
    len = strcspn(words->rest, " ");
    assert(len < 64);
    memcpy(word, words->rest, len);
    word[len] = '\0';
    words->rest += len;
    return len > 0;
}

static bool take_word(struct words *words, const char *expected)
{
    struct words ahead = *words;
    char word[64];

    if (!next_word(&ahead, word) || strcmp(word, expected) != 0)
        return false;
    *words = ahead;
    return true;
}

static ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)strdup(text)};
}

static ProtobufCBinaryData key_of(const char *name)
{
    char key[128];

    snprintf(key, sizeof(key), "/c%u/%s", c.number, name);
    return bytes_of(key);
}

static ProtobufCBinaryData next_key(struct words *words)
{
    char word[64] = "";

    next_word(words, word);
    return key_of(word);
}

static int64_t revision_of(const char *text)
{
    return text[0] == '+' ? c.base + atoll(text + 1) : atoll(text);
}

/* ---- calls ---- */

static void (*say_reply)(const ProtobufCMessage *reply);

static void on_done(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    if (status->code != ERR_GRPC_OK)
        say("error %d %s", (int)status->code, status->message);
    else if (say_reply != NULL)
        say_reply(reply);
    c.world->post(&c.done);
}

static void call(const ProtobufCServiceDescriptor *service, const char *method, const ProtobufCMessage *request,
                 void (*how)(const ProtobufCMessage *reply))
{
    say_reply = how;
    if (c.world->unary(c.client, service, method, request,
                       &(struct rpc_call_options){.timeout_ms = 20000, .wait_for_ready = true}, on_done, NULL) == 0)
        c.world->await(&c.done);
    else
        say("not sent");
}

/* ---- ranges and transactions ---- */

static void say_range(const Etcdserverpb__RangeResponse *response)
{
    say("{");
    for (size_t i = 0; i < response->n_kvs; i++) {
        const Etcdserverpb__KeyValue *kv = response->kvs[i];
        size_t prefix =
            (size_t)((const char *)memchr(kv->key.data + 1, '/', kv->key.len - 1) + 1 - (const char *)kv->key.data);

        say("%s%.*s=%.*s created", i > 0 ? ", " : "", (int)(kv->key.len - prefix), (const char *)kv->key.data + prefix,
            (int)kv->value.len, (const char *)kv->value.data);
        say_revision(kv->create_revision);
        say(" changed");
        say_revision(kv->mod_revision);
        say(" version%lld", (long long)kv->version);
    }
    say("} count %lld%s", (long long)response->count, response->more ? " more" : "");
}

static void say_range_reply(const ProtobufCMessage *reply)
{
    const Etcdserverpb__RangeResponse *response = (const Etcdserverpb__RangeResponse *)reply;

    say_revision(response->header->revision);
    say(" ");
    say_range(response);
}

static void say_txn(const Etcdserverpb__TxnResponse *response)
{
    say("%s(", response->succeeded ? "yes" : "no");
    for (size_t i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];

        say("%s", i > 0 ? ", " : "");
        if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
            say("ok");
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            say_range(op->response_range);
        else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            say_txn(op->response_txn);
        else if (op->response_delete_range->deleted <= 3)
            say("deleted %lld", (long long)op->response_delete_range->deleted);
        else
            say("deleted");
    }
    say(")");
}

static void say_txn_reply(const ProtobufCMessage *reply)
{
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)reply;

    c.revision = response->header->revision;
    say_revision(c.revision);
    say(" ");
    say_txn(response);
}

static Etcdserverpb__RangeRequest *parse_get(struct words *words, bool whole)
{
    Etcdserverpb__RangeRequest *range = sim_alloc(sizeof(*range));
    char word[64];

    etcdserverpb__range_request__init(range);
    range->key = next_key(words);
    while (whole && next_word(words, word)) {
        if (strcmp(word, "keys") == 0)
            range->keys_only = true;
        else if (strcmp(word, "count") == 0)
            range->count_only = true;
        else if (strcmp(word, "limit") == 0 && next_word(words, word))
            range->limit = atoll(word);
        else if (word[0] == '@')
            range->revision = revision_of(word + 1);
        else
            range->range_end = key_of(word);
    }
    return range;
}

static Etcdserverpb__TxnRequest *parse_txn(struct words *words);

/* NULL: none follows. */
static Etcdserverpb__RequestOp *parse_op(struct words *words, bool whole)
{
    Etcdserverpb__RequestOp *op = sim_alloc(sizeof(*op));
    char word[64];

    etcdserverpb__request_op__init(op);
    if (take_word(words, "put")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = sim_alloc(sizeof(*op->request_put));
        etcdserverpb__put_request__init(op->request_put);
        op->request_put->key = next_key(words);
        next_word(words, word);
        op->request_put->value = bytes_of(word);
    } else if (take_word(words, "del")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = sim_alloc(sizeof(*op->request_delete_range));
        etcdserverpb__delete_range_request__init(op->request_delete_range);
        op->request_delete_range->key = next_key(words);
        if (whole && next_word(words, word))
            op->request_delete_range->range_end = key_of(word);
    } else if (take_word(words, "get")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = parse_get(words, false);
    } else if (take_word(words, "if")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = parse_txn(words);
    } else {
        return NULL;
    }
    return op;
}

static size_t parse_ops(struct words *words, Etcdserverpb__RequestOp ***ret_ops)
{
    Etcdserverpb__RequestOp **ops = sim_alloc(8 * sizeof(*ops)), *op;
    size_t count = 0;

    while ((op = parse_op(words, false)) != NULL)
        ops[count++] = op;
    *ret_ops = ops;
    return count;
}

static Etcdserverpb__Compare *parse_compare(char *word)
{
    Etcdserverpb__Compare *compare = sim_alloc(sizeof(*compare));
    char *sign = word + strcspn(word, "=<>!");

    etcdserverpb__compare__init(compare);
    compare->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare->result = *sign == '='   ? ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
                      : *sign == '>' ? ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER
                      : *sign == '<' ? ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS
                                     : ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL;
    compare->mod_revision = revision_of(sign + 1);
    *sign = '\0';
    compare->key = key_of(word);
    return compare;
}

/* Behind the "if". */
static Etcdserverpb__TxnRequest *parse_txn(struct words *words)
{
    Etcdserverpb__TxnRequest *txn = sim_alloc(sizeof(*txn));
    char word[64];

    etcdserverpb__txn_request__init(txn);
    txn->compare = sim_alloc(8 * sizeof(*txn->compare));
    while (next_word(words, word) && strcmp(word, "then") != 0)
        txn->compare[txn->n_compare++] = parse_compare(word);
    txn->n_success = parse_ops(words, &txn->success);
    if (!take_word(words, "else"))
        abort();
    txn->n_failure = parse_ops(words, &txn->failure);
    if (!take_word(words, "end"))
        abort();
    return txn;
}

static void call_txn(Etcdserverpb__TxnRequest *txn)
{
    call(&etcdserverpb__kv__descriptor, "Txn", &txn->base, say_txn_reply);
}

static Etcdserverpb__TxnRequest *txn_of(Etcdserverpb__RequestOp **ops, size_t count)
{
    Etcdserverpb__TxnRequest *txn = sim_alloc(sizeof(*txn));

    etcdserverpb__txn_request__init(txn);
    txn->success = ops;
    txn->n_success = count;
    return txn;
}

static Etcdserverpb__RequestOp *put_of(const char *name, size_t bytes)
{
    Etcdserverpb__RequestOp *op = sim_alloc(sizeof(*op));

    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = sim_alloc(sizeof(*op->request_put));
    etcdserverpb__put_request__init(op->request_put);
    op->request_put->key = key_of(name);
    op->request_put->value = (ProtobufCBinaryData){bytes, sim_alloc(bytes)};
    return op;
}

/* ---- watches ---- */

static void keep_event(const Etcdserverpb__Event *event)
{
    struct event *kept = &c.events[c.event_count++];
    const Etcdserverpb__KeyValue *kv = event->kv;
    size_t prefix = (size_t)snprintf(NULL, 0, "/c%u/", c.number);
    bool deleted = event->type == ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;

    assert(c.event_count < sizeof(c.events) / sizeof(*c.events));
    kept->revision = kv->mod_revision;
    snprintf(kept->text, sizeof(kept->text), "%s %.*s%s%.*s", deleted ? "del" : "put", (int)(kv->key.len - prefix),
             (const char *)kv->key.data + prefix, deleted ? "" : "=", kv->value.len < 40 ? (int)kv->value.len : 0,
             (const char *)kv->value.data);
}

static void on_message(void *arg, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const Etcdserverpb__WatchResponse *)message;

    pthread_mutex_lock(&c.mutex);
    c.created |= response->created;
    c.cut |= response->fragment;
    if (response->canceled)
        c.compacted = response->compact_revision;
    if (!response->created && !response->canceled && response->n_events == 0)
        c.progress = response->header->revision;
    for (size_t i = 0; i < response->n_events; i++)
        keep_event(response->events[i]);
    pthread_mutex_unlock(&c.mutex);
    c.world->post(&c.said);
}

static void on_end(void *arg, const struct rpc_status *status)
{
    pthread_mutex_lock(&c.mutex);
    c.ended = true;
    pthread_mutex_unlock(&c.mutex);
    c.world->post(&c.said);
}

static void end_watch(void)
{
    if (c.stream == NULL)
        return;
    c.world->stream_cancel(c.stream);
    c.watch_client = c.world->client_free(c.watch_client);
    c.stream = c.world->stream_unref(c.stream);
}

static int open_client(struct rpc_client **ret_client);

static void watch(int64_t from)
{
    static const struct rpc_stream_handlers handlers = {on_message, NULL, on_end};
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    end_watch();
    c.created = c.cut = c.ended = false;
    c.compacted = c.progress = 0;
    c.event_count = c.taken = 0;
    sem_init(&c.said, 0, 0);
    create.key = key_of("");
    create.range_end = key_of("~");
    create.start_revision = from;
    create.fragment = true;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    if (open_client(&c.watch_client) < 0 ||
        c.world->stream_open(c.watch_client, &etcdserverpb__watch__descriptor, "Watch",
                             &(struct rpc_call_options){.timeout_ms = 60000, .wait_for_ready = true}, &handlers, NULL,
                             &c.stream) < 0) {
        say("no stream");
        return;
    }
    c.world->stream_send(c.stream, &request.base);
    while (!c.created && !c.ended)
        c.world->await(&c.said);
    say(c.created ? "created" : "ended");
}

static bool has_said_all(void)
{
    bool all;

    pthread_mutex_lock(&c.mutex);
    all = c.compacted != 0 || c.ended ||
          (c.event_count > 0 && c.events[c.event_count - 1].revision >= c.revision && c.taken < c.event_count);
    pthread_mutex_unlock(&c.mutex);
    return all;
}

static void say_events(void)
{
    while (!has_said_all())
        c.world->await(&c.said);
    if (c.compacted != 0) {
        say("compacted ");
        say_revision(c.compacted);
    }
    for (size_t first = c.taken; c.taken < c.event_count; c.taken++) {
        say("%s%s ", c.taken > first ? ", " : "", c.events[c.taken].text);
        say_revision(c.events[c.taken].revision);
    }
}

static void say_progress(void)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    c.world->stream_send(c.stream, &request.base);
    while (c.progress == 0 && !c.ended)
        c.world->await(&c.said);
    say_revision(c.progress);
}

/* The last of the case's events has come when there are three of each revision. */
static void say_pieces(void)
{
    int64_t last = c.revision;
    bool whole = true, ordered = true;

    c.out.len = 0;
    watch(c.base + 1);
    c.out.len = 0;
    while (c.event_count < 3 * (size_t)(last - c.base) && !c.ended)
        c.world->await(&c.said);
    for (size_t i = 0; i < c.event_count; i++) {
        ordered &= i == 0 || c.events[i].revision >= c.events[i - 1].revision;
        whole &= c.events[i].revision == c.base + 1 + (int64_t)(i / 3);
    }
    say("%s, %s, %s", c.cut ? "cut" : "not cut", whole ? "whole" : "not whole", ordered ? "in order" : "not in order");
}

/* ---- others ---- */

static void note_revision(const ProtobufCMessage *reply)
{
    c.revision = ((const Etcdserverpb__TxnResponse *)reply)->header->revision;
}

static void put_big(unsigned count)
{
    c.base = c.revision;
    for (unsigned i = 0; i < count; i++) {
        Etcdserverpb__RequestOp **ops = sim_alloc(3 * sizeof(*ops));

        ops[0] = put_of("x", BIG);
        ops[1] = put_of("y", BIG);
        ops[2] = put_of("z", BIG);
        call(&etcdserverpb__kv__descriptor, "Txn", &txn_of(ops, 3)->base, note_revision);
    }
    say("done");
}

static void fill(void)
{
    for (unsigned i = 0; c.out.len == 0 && i < 64; i++) {
        Etcdserverpb__RequestOp **ops = sim_alloc(sizeof(*ops));
        char name[32];

        snprintf(name, sizeof(name), "filled%u", i);
        ops[0] = put_of(name, FILL);
        call(&etcdserverpb__kv__descriptor, "Txn", &txn_of(ops, 1)->base, note_revision);
    }
    c.base = c.revision;
}

struct racer {
    bool refused;
    char name[16];
};

static void on_raced(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    ((struct racer *)arg)->refused = status->code == ERR_GRPC_RESOURCE_EXHAUSTED;
    c.world->post(&c.done);
}

static bool range_found;

static void note_found(const ProtobufCMessage *reply)
{
    range_found = ((const Etcdserverpb__RangeResponse *)reply)->count > 0;
}

static bool is_there(const char *name)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

    range.key = key_of(name);
    range.count_only = true;
    call(&etcdserverpb__kv__descriptor, "Range", &range.base, note_found);
    return range_found;
}

static void race(void)
{
    static struct racer racers[RACE];
    unsigned refused = 0, there = 0;

    for (unsigned i = 0; i < RACE; i++) {
        Etcdserverpb__RequestOp **ops = sim_alloc(sizeof(*ops));

        snprintf(racers[i].name, sizeof(racers[i].name), "r%u", i);
        ops[0] = put_of(racers[i].name, FILL);
        c.world->unary(c.client, &etcdserverpb__kv__descriptor, "Txn", &txn_of(ops, 1)->base,
                       &(struct rpc_call_options){.timeout_ms = 20000, .wait_for_ready = true}, on_raced, &racers[i]);
    }
    for (unsigned i = 0; i < RACE; i++)
        c.world->await(&c.done);
    for (unsigned i = 0; i < RACE; i++) {
        refused += racers[i].refused;
        there += racers[i].refused && is_there(racers[i].name);
    }
    say("%s, %s", refused > 0 ? "refused" : "not refused", there > 0 ? "and there" : "and not there");
}

static void say_alarms(const ProtobufCMessage *reply)
{
    const Etcdserverpb__AlarmResponse *response = (const Etcdserverpb__AlarmResponse *)reply;

    if (response->n_alarms > 0)
        c.alarmed = response->alarms[0]->memberid;
    say(response->n_alarms > 0 && response->alarms[0]->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE ? "NOSPACE" : "none");
}

/* Of one member, as with etcd: the one whose alarm was seen last. */
static void alarms(Etcdserverpb__AlarmRequest__AlarmAction action)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;

    request.action = action;
    if (action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE)
        request.memberid = c.alarmed;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    call(&etcdserverpb__maintenance__descriptor, "Alarm", &request.base, say_alarms);
}

static void defragment(void)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;

    call(&etcdserverpb__maintenance__descriptor, "Defragment", &request.base, NULL);
    say("done");
}

static void say_quota(const ProtobufCMessage *reply)
{
    say("%lld", (long long)((const Etcdserverpb__StatusResponse *)reply)->dbsizequota);
}

static void quota(void)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;

    call(&etcdserverpb__maintenance__descriptor, "Status", &request.base, say_quota);
}

static void say_compacted(const ProtobufCMessage *reply)
{
    say_revision(((const Etcdserverpb__CompactionResponse *)reply)->header->revision);
}

static void compact(const char *revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

    request.revision = revision_of(revision);
    request.physical = true;
    call(&etcdserverpb__kv__descriptor, "Compact", &request.base, say_compacted);
}

/* ---- a step, a case, all of them ---- */

static void run_step(const char *text)
{
    struct words words = {text};
    char word[64];
    Etcdserverpb__RequestOp **op = sim_alloc(sizeof(*op));

    if (take_word(&words, "get"))
        call(&etcdserverpb__kv__descriptor, "Range", &parse_get(&words, true)->base, say_range_reply);
    else if (take_word(&words, "if"))
        call_txn(parse_txn(&words));
    else if (take_word(&words, "compact") && next_word(&words, word))
        compact(word);
    else if (take_word(&words, "watch") && next_word(&words, word))
        watch(revision_of(word));
    else if (take_word(&words, "events"))
        say_events();
    else if (take_word(&words, "progress"))
        say_progress();
    else if (take_word(&words, "big") && next_word(&words, word))
        put_big((unsigned)atoi(word));
    else if (take_word(&words, "pieces"))
        say_pieces();
    else if (take_word(&words, "fill"))
        fill();
    else if (take_word(&words, "race"))
        race();
    else if (take_word(&words, "alarms"))
        alarms(ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET);
    else if (take_word(&words, "disarm"))
        alarms(ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE);
    else if (take_word(&words, "defragment"))
        defragment();
    else if (take_word(&words, "quota"))
        quota();
    else if ((*op = parse_op(&words, true)) != NULL)
        call_txn(txn_of(op, 1));
    else
        say("no such step");
}

static void begin_case(unsigned number)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;

    c.number = number;
    call(&etcdserverpb__kv__descriptor, "Txn", &txn.base, note_revision);
    c.base = c.revision;
}

static bool run_case(const struct test_case *test, const char *where)
{
    for (unsigned i = 0; i < MAX_STEPS && test->steps[i].request != NULL; i++) {
        const struct step *step = &test->steps[i];

        c.out.len = 0;
        run_step(step->request);
        if (str_eq(buf_str(&c.out), str_of(step->expected)))
            continue;
        printf("FAILED %s: %s: %s: %.*s instead of %s\n", where, test->name, step->request, STR_ARG(buf_str(&c.out)),
               step->expected);
        return false;
    }
    printf("ok     %s: %s\n", where, test->name);
    return true;
}

static const char *target;

static int open_client(struct rpc_client **ret_client)
{
    return c.world->client_open(
        &(struct rpc_client_def){.name = "etcd", .target = target, .threads = 1, .max_message = 64 << 20}, ret_client);
}

struct part {
    const struct test_case *cases;
    unsigned count, first;
    const char *where;
    unsigned passed, failed;
};

static void run_part(struct part *part, const struct etcd_world *world, const char *at)
{
    c.world = world;
    target = at;
    sem_init(&c.done, 0, 0);
    if (open_client(&c.client) < 0) {
        part->failed++;
        return;
    }
    for (unsigned i = 0; i < part->count; i++) {
        begin_case(part->first + i);
        if (run_case(&part->cases[i], part->where))
            part->passed++;
        else
            part->failed++;
        end_watch();
    }
    c.client = world->client_free(c.client);
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- in memory ---- */

static void *run_in_memory(void *arg)
{
    run_part(arg, &sim_world, "m:1");
    sim_stop();
    return NULL;
}

static void start_in_memory(struct part *part, uint64_t bytes)
{
    static struct sim_process process = {.number = 0};

    sim_init(1, false);
    network_start(&(struct network_options){.delay_ns = CLOCK_NS_PER_MS});
    cluster_start(&(struct cluster_options){.members = 1,
                                            .quota = bytes,
                                            .tells_quota = true,
                                            .fragment_bytes = 2 << 20,
                                            .commit_ns = 30 * CLOCK_NS_PER_MS,
                                            .apply_ns = 1});
    sim_spawn(&process, run_in_memory, part);
    sim_run();
}

unsigned conformance_in_memory(unsigned *ret_passed)
{
    struct part all = {.cases = cases, .count = COUNT(cases), .where = "memory"};

    start_in_memory(&all, 2ULL << 30);
    for (unsigned i = 0; i < COUNT(full_cases); i++) { /* each has an etcd of its own */
        struct part one = {.cases = &full_cases[i], .count = 1, .first = 100 + i, .where = "memory"};

        start_in_memory(&one, QUOTA);
        all.passed += one.passed;
        all.failed += one.failed;
    }
    *ret_passed = all.passed;
    return all.failed;
}

/* ---- a real one ---- */

static int run_at_real(struct part *part, const char *folder, const char *const *options)
{
    struct etcd_cluster etcd = {.folder = folder, .options = options};
    char at[64];
    int err = etcd_cluster_start(&etcd, 1);

    if (err == 0) {
        snprintf(at, sizeof(at), "127.0.0.1:%d", etcd.members[0].client_port);
        run_part(part, &etcd_real_world, at);
    }
    etcd_cluster_stop(&etcd);
    return err;
}

int conformance_real(const char *folder, unsigned *ret_passed)
{
    static const char *const options[] = {"--quota-backend-bytes=16777216", "--backend-batch-limit=1", NULL};
    struct part plain = {.cases = cases, .count = COUNT(cases), .where = "etcd"};
    unsigned failed;
    int err = run_at_real(&plain, folder, NULL);

    if (err == -ENOENT)
        return -1;
    failed = plain.failed + (err < 0);
    *ret_passed = plain.passed;
    for (unsigned i = 0; i < COUNT(full_cases); i++) {
        struct part one = {.cases = &full_cases[i], .count = 1, .first = 100 + i, .where = "etcd"};
        char own[PATH_MAX];

        snprintf(own, sizeof(own), "%s/%u", folder, i);
        failed += mkdir(own, 0700) != 0 || run_at_real(&one, own, options) < 0;
        failed += one.failed;
        *ret_passed += one.passed;
    }
    return (int)failed;
}
