#include "cluster.h"
#include "err.h"
#include <string.h>

#define PULSE_NS      (50 * CLOCK_NS_PER_MS)
#define ELECTION_NS   (1500 * CLOCK_NS_PER_MS) /* up to */
#define NO_LEADER_NS  (3 * CLOCK_NS_PER_S)     /* after which a member ends its watches */
#define REQUEST_NS    (7 * CLOCK_NS_PER_S)     /* after which a member gives up */
#define MAX_REQUEST   (3 << 19)                /* bytes */
#define WATCH_BATCH   1000                     /* revisions of a message */
#define CLUSTER_ID    4711
#define NOSPACE_ERROR ((struct mvcc_status){ERR_GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"})

/* What a member has come to, for each entry of the log. */
struct entry {
    int64_t revision, compacted;
    bool alarm;
};

struct call {
    struct call *next;
    unsigned member, epoch;
    uint64_t incarnation, begun_ns;
    const char *method;
    const ProtobufCMessage *request;
    cluster_answer *answer;
    void *arg;
    /* Once it is decided what the answer is: */
    size_t index; /* of the log: to be applied before it is given */
    struct mvcc_status status;
    const ProtobufCMessage *reply;
    uint64_t term; /* of a proposal */
};

struct cluster_stream {
    struct cluster_stream *next;
    unsigned member;
    bool closed, watching, progress;
    cluster_sent *sent;
    cluster_ended *ended;
    void *arg;
    ProtobufCBinaryData from, end;
    int64_t next_revision;
    bool fragment;
};

struct member {
    bool up;
    uint64_t incarnation;
    size_t applied; /* entries of the log */
    uint64_t stalled_until, held_until, leader_seen_ns;
    struct call *waiting; /* for the log */
    struct cluster_stream *streams;
};

static struct {
    struct cluster_options options;
    struct mvcc *state, *snapshot;
    struct member members[CLUSTER_MAX];
    bool cut[CLUSTER_MAX][CLUSTER_MAX];
    int leader; /* -1: none */
    bool electing;
    uint64_t term;
    unsigned epoch;
    struct entry *log;
    size_t log_count, log_size;
    bool alarm;
    void (*committed)(const struct mvcc_revision *revision);
} cluster;

const struct mvcc *cluster_state(void)
{
    return cluster.state;
}

unsigned cluster_epoch(void)
{
    return cluster.epoch;
}

void cluster_on_commit(void (*committed)(const struct mvcc_revision *revision))
{
    cluster.committed = committed;
}

/* ---- who reaches whom ---- */

static bool reaches(unsigned one, unsigned other)
{
    return cluster.members[one].up && cluster.members[other].up && !cluster.cut[one][other];
}

static bool has_majority(unsigned member)
{
    unsigned count = 0;

    for (unsigned i = 0; i < cluster.options.members; i++)
        count += reaches(member, i);
    return count > cluster.options.members / 2;
}

static bool has_leader(unsigned member)
{
    return cluster.leader >= 0 && reaches(member, (unsigned)cluster.leader) && has_majority((unsigned)cluster.leader);
}

/* ---- the log ---- */

static void apply_to(unsigned member, size_t index);

struct applying {
    unsigned member;
    uint64_t incarnation;
    size_t index;
    unsigned epoch;
};

static void on_apply(void *arg)
{
    const struct applying *applying = arg;
    struct member *member = &cluster.members[applying->member];

    if (applying->epoch != cluster.epoch || !member->up || member->incarnation != applying->incarnation)
        return;
    if (member->stalled_until > sim_now_ns())
        return; /* the pulse brings it up to date */
    apply_to(applying->member, applying->index);
}

static uint64_t apply_delay(unsigned member)
{
    if (sim_chance(cluster.options.slow_per_mille))
        return sim_below(cluster.options.slow_apply_ns + 1);
    return (int)member == cluster.leader ? 0 : sim_below(cluster.options.apply_ns + 1);
}

static void replicate(void)
{
    for (unsigned i = 0; i < cluster.options.members; i++) {
        struct member *member = &cluster.members[i];

        if (member->applied < cluster.log_count && has_leader(i)) {
            struct applying applying = {i, member->incarnation, cluster.log_count, cluster.epoch};

            sim_after(apply_delay(i), on_apply, sim_copy(&applying, sizeof(applying)));
        }
    }
}

static size_t append(void)
{
    cluster.log = sim_grown(cluster.log, &cluster.log_size, cluster.log_count, sizeof(*cluster.log));
    cluster.log[cluster.log_count++] = (struct entry){cluster.state->revision, cluster.state->compacted, cluster.alarm};
    replicate();
    return cluster.log_count;
}

static struct entry come_to(unsigned member)
{
    return cluster.log[cluster.members[member].applied - 1];
}

/* ---- answers ---- */

static Etcdserverpb__ResponseHeader *header_of(unsigned member, int64_t revision)
{
    Etcdserverpb__ResponseHeader *header = sim_alloc(sizeof(*header));

    etcdserverpb__response_header__init(header);
    header->cluster_id = CLUSTER_ID + cluster.epoch;
    header->member_id = member + 1;
    header->revision = revision;
    header->raft_term = cluster.term;
    return header;
}

static bool is_gone(const struct call *call)
{
    const struct member *member = &cluster.members[call->member];

    return call->epoch != cluster.epoch || !member->up || member->incarnation != call->incarnation;
}

static void give(struct call *call)
{
    if (!is_gone(call))
        call->answer(call->arg, call->status, call->status.code == 0 ? call->reply : NULL);
}

static void answer_at(struct call *call, size_t index, struct mvcc_status status, const ProtobufCMessage *reply)
{
    struct member *member = &cluster.members[call->member];

    call->index = index;
    call->status = status;
    call->reply = reply;
    if (is_gone(call))
        return;
    if (member->applied >= index && member->stalled_until <= sim_now_ns()) {
        give(call);
        return;
    }
    call->next = member->waiting;
    member->waiting = call;
}

static void fail(struct call *call, int code, const char *message)
{
    call->status = (struct mvcc_status){code, message};
    give(call);
}

/* ---- linearizable reads: as of the log's end when they were asked for, or later ---- */

static void answer_range(struct call *call)
{
    struct entry entry = come_to(call->member);
    Etcdserverpb__RangeResponse *response = NULL;

    call->status = mvcc_range(cluster.state, (const Etcdserverpb__RangeRequest *)call->request, entry.revision,
                              entry.compacted, &response);
    if (call->status.code == 0) {
        response->header = header_of(call->member, entry.revision);
        call->reply = &response->base;
    }
    give(call);
}

/* A transaction of reads alone: at one revision, the member's. */
static void answer_reads(struct call *call)
{
    struct entry entry = come_to(call->member);
    Etcdserverpb__TxnResponse *response =
        mvcc_read(cluster.state, (const Etcdserverpb__TxnRequest *)call->request, entry.revision);

    response->header = header_of(call->member, entry.revision);
    call->status = MVCC_OK;
    call->reply = &response->base;
    give(call);
}

static bool is_read(const struct call *call)
{
    return strcmp(call->method, "Range") == 0 ||
           (strcmp(call->method, "Txn") == 0 && mvcc_reads_only((const Etcdserverpb__TxnRequest *)call->request));
}

static void give_waiting(unsigned number)
{
    struct member *member = &cluster.members[number];
    struct call **link = &member->waiting, *call;

    while ((call = *link) != NULL) {
        if (call->index > member->applied) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        if (strcmp(call->method, "Range") == 0)
            answer_range(call);
        else if (is_read(call))
            answer_reads(call);
        else
            give(call);
        link = &member->waiting;
    }
}

static void on_read(void *arg)
{
    struct call *call = arg;
    struct member *member = &cluster.members[call->member];

    if (is_gone(call))
        return;
    if (!has_leader(call->member)) {
        if (sim_now_ns() - call->begun_ns > REQUEST_NS)
            fail(call, ERR_GRPC_UNAVAILABLE, "etcdserver: request timed out");
        else
            sim_after(PULSE_NS, on_read, call);
        return;
    }
    call->index = cluster.log_count;
    call->next = member->waiting;
    member->waiting = call;
    if (member->stalled_until <= sim_now_ns())
        give_waiting(call->member);
}

/* ---- proposals ---- */

static bool is_available(uint64_t cost)
{
    return cluster.state->file + cost < cluster.options.quota;
}

static void raise_alarm(void)
{
    if (cluster.alarm)
        return;
    cluster.alarm = true;
    sim_note("etcd: alarm NOSPACE");
    append();
}

/* etcd applies a transaction that reaches the quota, and then answers that there is no space. */
static void commit_txn(struct call *call)
{
    const Etcdserverpb__TxnRequest *request = (const Etcdserverpb__TxnRequest *)call->request;
    uint64_t cost = mvcc_cost(request);
    bool available = is_available(cost);
    size_t before = cluster.state->revision_count, index;
    Etcdserverpb__TxnResponse *response;
    struct mvcc_status status = MVCC_OK;

    if (cluster.alarm && cost > 0) {
        answer_at(call, cluster.log_count, NOSPACE_ERROR, NULL);
        return;
    }
    response = mvcc_txn(cluster.state, request);
    response->header = header_of(call->member, cluster.state->revision);
    index = append();
    if (cluster.state->revision_count > before) {
        sim_note("etcd: revision %lld", (long long)cluster.state->revision);
        if (cluster.committed != NULL)
            cluster.committed(&cluster.state->revisions[cluster.state->revision_count - 1]);
    }
    if (cost > 0 && !available) {
        status = NOSPACE_ERROR;
        raise_alarm();
    }
    answer_at(call, index, status, &response->base);
}

static void commit_compaction(struct call *call)
{
    const Etcdserverpb__CompactionRequest *request = (const Etcdserverpb__CompactionRequest *)call->request;
    Etcdserverpb__CompactionResponse *response = sim_alloc(sizeof(*response));
    struct mvcc_status status = mvcc_compact(cluster.state, request->revision);

    etcdserverpb__compaction_response__init(response);
    response->header = header_of(call->member, cluster.state->revision);
    answer_at(call, append(), status, &response->base);
}

static void commit_alarm(struct call *call)
{
    const Etcdserverpb__AlarmRequest *request = (const Etcdserverpb__AlarmRequest *)call->request;
    Etcdserverpb__AlarmResponse *response = sim_alloc(sizeof(*response));

    etcdserverpb__alarm_response__init(response);
    response->header = header_of(call->member, cluster.state->revision);
    if (cluster.alarm) {
        response->n_alarms = 1;
        response->alarms = sim_alloc(sizeof(*response->alarms));
        response->alarms[0] = sim_alloc(sizeof(**response->alarms));
        etcdserverpb__alarm_member__init(response->alarms[0]);
        response->alarms[0]->memberid = 1;
        response->alarms[0]->alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    }
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE && request->memberid == 1)
        cluster.alarm = false;
    answer_at(call, append(), MVCC_OK, &response->base);
}

static void commit(struct call *call)
{
    if (strcmp(call->method, "Txn") == 0)
        commit_txn(call);
    else if (strcmp(call->method, "Compact") == 0)
        commit_compaction(call);
    else
        commit_alarm(call);
}

/* The leader has changed since it was proposed: it was with the majority already, or is lost. */
static void on_leftover(void *arg)
{
    struct call *call = arg;

    if (call->epoch != cluster.epoch)
        return;
    if (cluster.leader < 0 || !has_majority((unsigned)cluster.leader))
        sim_after(PULSE_NS, on_leftover, call);
    else
        commit(call);
}

static void ignore_answer(void *arg, struct mvcc_status status, const ProtobufCMessage *reply)
{
}

static void lose_leader(struct call *call)
{
    struct call *leftover = sim_copy(call, sizeof(*call));

    leftover->answer = ignore_answer;
    if (sim_chance(500)) {
        sim_note("etcd: a proposal is with a majority, but not answered");
        sim_after(sim_below(2 * CLOCK_NS_PER_S), on_leftover, leftover);
    }
    if (sim_chance(500))
        fail(call, ERR_GRPC_UNAVAILABLE, "etcdserver: leader changed");
}

static void on_commit(void *arg)
{
    struct call *call = arg;

    if (call->epoch != cluster.epoch)
        return;
    if (cluster.leader < 0 || call->term != cluster.term || !has_majority((unsigned)cluster.leader))
        lose_leader(call);
    else
        commit(call);
}

static void on_propose(void *arg)
{
    struct call *call = arg;

    if (is_gone(call))
        return;
    if (strcmp(call->method, "Txn") == 0) {
        uint64_t cost = mvcc_cost((const Etcdserverpb__TxnRequest *)call->request);

        if (cost > 0 && !is_available(cost)) {
            raise_alarm();
            call->status = NOSPACE_ERROR;
            give(call);
            return;
        }
    }
    if (has_leader(call->member)) {
        call->term = cluster.term;
        sim_after(sim_below(cluster.options.commit_ns + 1), on_commit, call);
    } else if (sim_now_ns() - call->begun_ns > REQUEST_NS) {
        fail(call, ERR_GRPC_UNAVAILABLE, "etcdserver: request timed out");
    } else {
        sim_after(PULSE_NS, on_propose, call);
    }
}

/* ---- calls ---- */

static void answer_status(struct call *call)
{
    Etcdserverpb__StatusResponse *response = sim_alloc(sizeof(*response));

    etcdserverpb__status_response__init(response);
    response->header = header_of(call->member, come_to(call->member).revision);
    response->version = (char *)(uintptr_t) "3.6.0";
    response->dbsize = (int64_t)cluster.state->file;
    response->dbsizequota = cluster.options.tells_quota ? (int64_t)cluster.options.quota : 0;
    response->dbsizeinuse = (int64_t)cluster.state->used;
    response->leader = cluster.leader >= 0 ? (uint64_t)cluster.leader + 1 : 0;
    response->raftindex = cluster.log_count;
    response->raftappliedindex = cluster.members[call->member].applied;
    call->status = MVCC_OK;
    call->reply = &response->base;
    give(call);
}

static void answer_defragment(struct call *call)
{
    Etcdserverpb__DefragmentResponse *response = sim_alloc(sizeof(*response));

    etcdserverpb__defragment_response__init(response);
    mvcc_defragment(cluster.state);
    call->status = MVCC_OK;
    call->reply = &response->base;
    give(call);
}

void cluster_call(unsigned member, const char *method, const ProtobufCMessage *request, cluster_answer *answer,
                  void *arg)
{
    struct call *call = sim_alloc(sizeof(*call));
    struct mvcc_status status = MVCC_OK;

    *call = (struct call){.member = member,
                          .epoch = cluster.epoch,
                          .incarnation = cluster.members[member].incarnation,
                          .begun_ns = sim_now_ns(),
                          .method = method,
                          .request = request,
                          .answer = answer,
                          .arg = arg};
    if (!cluster.members[member].up)
        return;
    if (strcmp(method, "Txn") == 0)
        status = mvcc_check((const Etcdserverpb__TxnRequest *)request);
    if (status.code == 0 && protobuf_c_message_get_packed_size(request) > MAX_REQUEST)
        status = (struct mvcc_status){ERR_GRPC_INVALID_ARGUMENT, "etcdserver: request is too large"};
    if (status.code != 0)
        fail(call, status.code, status.message);
    else if (strcmp(method, "Status") == 0)
        answer_status(call);
    else if (strcmp(method, "Defragment") == 0)
        answer_defragment(call);
    else if (is_read(call))
        on_read(call);
    else
        on_propose(call);
}

/* ---- watches ---- */

static Etcdserverpb__WatchResponse *watch_response(const struct cluster_stream *stream, int64_t revision)
{
    Etcdserverpb__WatchResponse *response = sim_alloc(sizeof(*response));

    etcdserverpb__watch_response__init(response);
    response->header = header_of(stream->member, revision);
    return response;
}

static Etcdserverpb__Event *event_of(const struct mvcc_change *change)
{
    Etcdserverpb__Event *event = sim_alloc(sizeof(*event));

    etcdserverpb__event__init(event);
    event->kv = mvcc_kv(change->key, &change->version, false);
    if (change->version.version == 0)
        event->type = ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;
    return event;
}

/* Cut where it would exceed the bound; each part has an event at least. */
static void send_events(struct cluster_stream *stream, Etcdserverpb__Event **events, size_t count, int64_t revision)
{
    size_t first = 0;

    while (first < count && !stream->closed) {
        Etcdserverpb__WatchResponse *response = watch_response(stream, revision);
        size_t n = 0, bytes = 0;

        do {
            bytes += 32 + events[first + n]->kv->key.len + events[first + n]->kv->value.len;
            n++;
        } while (first + n < count && (!stream->fragment || bytes < cluster.options.fragment_bytes));
        response->events = events + first;
        response->n_events = n;
        first += n;
        response->fragment = first < count;
        stream->sent(stream->arg, response);
    }
}

static void pump(struct cluster_stream *stream)
{
    struct entry entry = come_to(stream->member);
    size_t from, count = 0, size = 0;
    Etcdserverpb__Event **events = NULL;

    if (stream->next_revision < entry.compacted) {
        Etcdserverpb__WatchResponse *response = watch_response(stream, 0);

        response->canceled = true;
        response->compact_revision = entry.compacted;
        stream->watching = false;
        stream->sent(stream->arg, response);
        return;
    }
    from = mvcc_revision_from(cluster.state, stream->next_revision);
    for (size_t i = from; i < cluster.state->revision_count && cluster.state->revisions[i].revision <= entry.revision;
         i++) {
        const struct mvcc_revision *revision = &cluster.state->revisions[i];

        for (size_t n = 0; n < revision->count; n++) {
            if (!mvcc_in_range(revision->changes[n].key->key, stream->from, stream->end))
                continue;
            events = sim_grown(events, &size, count, sizeof(*events));
            events[count++] = event_of(&revision->changes[n]);
        }
    }
    if (entry.revision >= stream->next_revision)
        stream->next_revision = entry.revision + 1;
    send_events(stream, events, count, entry.revision);
    if (stream->progress && !stream->closed) {
        Etcdserverpb__WatchResponse *response = watch_response(stream, entry.revision);

        response->watch_id = -1;
        stream->progress = false;
        stream->sent(stream->arg, response);
    }
}

static void pump_all(unsigned number)
{
    struct member *member = &cluster.members[number];
    struct cluster_stream *stream, *next;

    if (!member->up || member->stalled_until > sim_now_ns() || member->held_until > sim_now_ns())
        return;
    for (stream = member->streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->watching && !stream->closed)
            pump(stream);
    }
}

struct cluster_stream *cluster_stream_open(unsigned member, cluster_sent *sent, cluster_ended *ended, void *arg)
{
    struct cluster_stream *stream = sim_alloc(sizeof(*stream));

    *stream = (struct cluster_stream){
        .next = cluster.members[member].streams, .member = member, .sent = sent, .ended = ended, .arg = arg};
    cluster.members[member].streams = stream;
    return stream;
}

void cluster_stream_take(struct cluster_stream *stream, const Etcdserverpb__WatchRequest *request)
{
    const Etcdserverpb__WatchCreateRequest *create = request->create_request;

    if (stream->closed)
        return;
    if (request->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST) {
        stream->progress = true;
    } else {
        int64_t now = come_to(stream->member).revision;
        Etcdserverpb__WatchResponse *response = watch_response(stream, now);

        stream->from = create->key;
        stream->end = create->range_end;
        stream->next_revision = create->start_revision > 0 ? create->start_revision : now + 1;
        stream->fragment = create->fragment;
        stream->watching = true;
        response->created = true;
        stream->sent(stream->arg, response);
    }
    pump_all(stream->member);
}

void cluster_stream_close(struct cluster_stream *stream)
{
    struct cluster_stream **link = &cluster.members[stream->member].streams;

    stream->closed = true;
    while (*link != NULL && *link != stream)
        link = &(*link)->next;
    if (*link != NULL)
        *link = stream->next;
}

static void end_streams(unsigned number, struct mvcc_status status)
{
    struct cluster_stream *stream;

    while ((stream = cluster.members[number].streams) != NULL) {
        cluster_stream_close(stream);
        stream->ended(stream->arg, status);
    }
}

static void apply_to(unsigned number, size_t index)
{
    struct member *member = &cluster.members[number];

    if (index <= member->applied)
        return;
    member->applied = index;
    give_waiting(number);
    pump_all(number);
}

/* ---- leaders ---- */

static void on_elected(void *arg)
{
    unsigned candidates[CLUSTER_MAX], count = 0;

    cluster.electing = false;
    for (unsigned i = 0; i < cluster.options.members; i++)
        if (cluster.members[i].up && has_majority(i))
            candidates[count++] = i;
    if (count == 0)
        return;
    cluster.leader = (int)candidates[sim_below(count)];
    cluster.term++;
    sim_note("etcd: member %d leads", cluster.leader);
    replicate();
}

/* What happens without being asked for: elections, members that catch up, watches without a leader. */
static void on_pulse(void *arg)
{
    uint64_t now_ns = sim_now_ns();

    if (!cluster.electing &&
        (cluster.leader < 0 || !cluster.members[cluster.leader].up || !has_majority((unsigned)cluster.leader))) {
        cluster.electing = true;
        sim_after(sim_below(ELECTION_NS), on_elected, NULL);
    }
    for (unsigned i = 0; i < cluster.options.members; i++) {
        struct member *member = &cluster.members[i];

        if (has_leader(i))
            member->leader_seen_ns = now_ns;
        else if (member->up && now_ns - member->leader_seen_ns > NO_LEADER_NS)
            end_streams(i, (struct mvcc_status){ERR_GRPC_UNAVAILABLE, "etcdserver: no leader"});
        if (member->up && member->stalled_until <= now_ns) {
            give_waiting(i);
            pump_all(i);
        }
    }
    replicate();
    sim_after(PULSE_NS, on_pulse, NULL);
}

void cluster_start(const struct cluster_options *options)
{
    memset(&cluster, 0, sizeof(cluster));
    cluster.options = *options;
    cluster.state = mvcc_new();
    cluster.snapshot = mvcc_copy(cluster.state);
    cluster.term = 2;
    cluster.leader = 0;
    for (unsigned i = 0; i < options->members; i++)
        cluster.members[i] = (struct member){.up = true, .applied = 1, .leader_seen_ns = sim_now_ns()};
    append();
    sim_after(PULSE_NS, on_pulse, NULL);
}

/* ---- faults ---- */

bool cluster_is_up(unsigned member)
{
    return cluster.members[member].up;
}

/* What it has in memory is gone; the log is on its disk. */
void cluster_kill(unsigned number)
{
    struct member *member = &cluster.members[number];

    if (!member->up)
        return;
    member->up = false;
    member->incarnation++;
    member->waiting = NULL;
    end_streams(number, (struct mvcc_status){ERR_GRPC_UNAVAILABLE, "connection reset"});
}

void cluster_revive(unsigned number)
{
    struct member *member = &cluster.members[number];

    if (member->up)
        return;
    member->up = true;
    member->stalled_until = member->held_until = 0;
    member->leader_seen_ns = sim_now_ns();
}

void cluster_cut(unsigned one, unsigned other, bool cut)
{
    cluster.cut[one][other] = cluster.cut[other][one] = cut && one != other;
}

void cluster_stall(unsigned member, uint64_t ns)
{
    cluster.members[member].stalled_until = sim_now_ns() + ns;
}

void cluster_hold_watches(unsigned member, uint64_t ns)
{
    cluster.members[member].held_until = sim_now_ns() + ns;
}

void cluster_elect(void)
{
    cluster.leader = -1;
}

void cluster_compact(int64_t revision)
{
    if (mvcc_compact(cluster.state, revision).code == 0)
        append();
}

void cluster_defragment(void)
{
    mvcc_defragment(cluster.state);
}

void cluster_set_quota(uint64_t bytes)
{
    cluster.options.quota = bytes;
}

void cluster_disarm(void)
{
    cluster.alarm = false;
    append();
}

void cluster_snapshot(void)
{
    cluster.snapshot = mvcc_copy(cluster.state);
}

void cluster_restore(int64_t bump)
{
    for (unsigned i = 0; i < cluster.options.members; i++)
        cluster_kill(i);
    cluster.state = mvcc_copy(cluster.snapshot);
    mvcc_bump(cluster.state, bump);
    cluster.epoch++;
    cluster.alarm = false;
    cluster.log_count = 0;
    cluster.leader = -1;
    for (unsigned i = 0; i < cluster.options.members; i++) {
        cluster.members[i].applied = 1;
        cluster_revive(i);
    }
    append();
    cluster_snapshot();
}
