#include "run.h"
#include "judge.h"
#include "options.h"
#include "replica.h"
#include "store_engine.h"
#include <stdio.h>

#define MAX_REPLICAS 3
#define CLIENT       8 /* the number of the clients' process */
#define POLL_NS      (20 * CLOCK_NS_PER_MS)
#define RECOVER_NS   (90 * CLOCK_NS_PER_S) /* after the last fault until everything works */
#define COMPLETE_NS  (5 * CLOCK_NS_PER_S)  /* for the last read of a replica */
#define ATTEMPTS     5                     /* of one request with an idempotency key */

static struct {
    struct sim_options options;
    struct replica replicas[MAX_REPLICAS];
    struct sim_process clients;
    bool ending; /* no more faults, no more requests */
    unsigned active_clients;
    uint64_t heal_ns;
    int64_t snapshot_revision;
} run;

/* ---- a request at a replica, in a thread of that ---- */

struct job {
    struct replica *replica;
    struct sim_process *process;
    struct store_batch *batch;
    struct judge_request *request;
    struct judge_read *read;
    uint64_t deadline_ns;
    bool done;
};

static void on_written(void *arg, const struct store_result *result)
{
    struct job *job = arg;

    judge_end(job->request, result);
    job->done = true;
    sim_wake(job);
}

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    struct job *job = arg;

    judge_read_end(job->read, err, snapshot);
    job->done = true;
    sim_wake(job);
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    struct store *store = job->replica->store;

    if (job->read != NULL)
        store_read(store, job->deadline_ns, job->read->max_stale_ms, on_read, job);
    else
        store_write(store, job->batch, job->deadline_ns, on_written, job);
    job->replica->calls--;
    return NULL;
}

/* False: its replica has died. */
static bool wait_for(struct job *job)
{
    job->process = job->replica->process;
    job->replica->calls++;
    sim_spawn(job->process, run_job, job);
    while (!job->done && !job->process->dead) {
        judge_check_time(job->deadline_ns, job->process->pause_until, job->read != NULL ? "read" : "write",
                         job->read != NULL ? job->read->number : job->request->number);
        sim_block(job, sim_now_ns() + POLL_NS);
    }
    if (!job->done && job->request != NULL)
        judge_lost(job->request);
    return job->done;
}

static struct replica *some_replica(void)
{
    unsigned first = (unsigned)sim_below(run.options.replicas);

    for (unsigned i = 0; i < run.options.replicas; i++) {
        struct replica *replica = &run.replicas[(first + i) % run.options.replicas];

        if (replica->state == REPLICA_SERVING)
            return replica;
    }
    return NULL;
}

/* ---- clients ---- */

static void add_to_batch(struct store_batch *batch, const struct judge_request *request, unsigned i)
{
    static char value[8192];
    const struct judge_op *op = &request->ops[i];
    size_t len = judge_value(request, i, value, sizeof(value)), more;

    if (op->deletes) {
        store_batch_delete(batch, op->table, str_of(op->key), op->expect, op->seq);
        return;
    }
    more = (size_t)sim_below(run.options.value_bytes);
    memset(value + len, '.', more);
    store_batch_put(batch, op->table, str_of(op->key), (struct str){value, len + more}, op->expect, op->seq);
}

static void write_at(struct replica *replica, struct judge_request *request, uint64_t within_ns)
{
    struct job job = {.replica = replica, .request = request, .deadline_ns = sim_now_ns() + within_ns};

    judge_begun(request);
    job.batch = store_batch_new();
    for (unsigned i = 0; i < request->count; i++)
        add_to_batch(job.batch, request, i);
    /* On the heap: a replica may go on with it when the client has given it up. */
    wait_for(sim_copy(&job, sizeof(job)));
}

static uint64_t some_seq(const char *key)
{
    int64_t revision = cluster_state()->revision - (int64_t)(sim_chance(300) ? sim_below(5) : 0);
    uint64_t seq = judge_seq(THINGS, key, revision);

    return seq != 0 ? seq : 256; /* of no record */
}

static void draw_op(struct judge_op *op, unsigned key)
{
    *op = (struct judge_op){.table = THINGS, .deletes = sim_chance(200)};
    snprintf(op->key, sizeof(op->key), "k%u", key);
    op->expect = sim_chance(400) ? STORE_ANY : (enum store_expect)sim_below(4);
    if (op->expect == STORE_AT)
        op->seq = some_seq(op->key);
    if (op->deletes && op->expect == STORE_ABSENT)
        op->expect = STORE_ANY;
}

static void draw_request(struct judge_request *request)
{
    unsigned first = (unsigned)sim_below(JUDGE_KEYS);

    request->count = sim_chance(700) ? 1 : (unsigned)sim_between(2, JUDGE_OPS);
    for (unsigned i = 0; i < request->count; i++)
        draw_op(&request->ops[i], (first + i) % JUDGE_KEYS);
}

static uint64_t draw_deadline(void)
{
    return sim_chance(200) ? sim_between(1, 300) * CLOCK_NS_PER_MS : sim_between(300, 8000) * CLOCK_NS_PER_MS;
}

static void write_once(void)
{
    struct replica *replica = some_replica();
    struct judge_request *request;

    if (replica == NULL)
        return;
    request = judge_begin(0);
    draw_request(request);
    write_at(replica, request, draw_deadline());
}

/* As the library's idempotency does: the key's record is put with the work, expecting that there is none. */
static bool try_key(uint64_t *logical, unsigned key)
{
    struct replica *replica = some_replica();
    struct judge_request *request;

    if (replica == NULL)
        return false;
    request = judge_begin(*logical);
    *logical = request->logical;
    request->count = 2;
    draw_op(&request->ops[0], key);
    request->ops[0].deletes = false;
    request->ops[0].expect = STORE_ANY;
    request->ops[1] = (struct judge_op){.table = KEYS, .expect = STORE_ABSENT};
    snprintf(request->ops[1].key, sizeof(request->ops[1].key), "i%llu", (unsigned long long)*logical);
    write_at(replica, request, draw_deadline());
    return request->state == JUDGE_ACKNOWLEDGED || sim_chance(100);
}

static void write_by_key(void)
{
    unsigned key = (unsigned)sim_below(JUDGE_KEYS);
    uint64_t logical = 0;

    for (unsigned i = 0; i < ATTEMPTS && !run.ending && !try_key(&logical, key); i++)
        sim_sleep(sim_below(100 * CLOCK_NS_PER_MS));
}

static bool read_at(struct replica *replica, uint64_t within_ns, uint64_t max_stale_ms)
{
    struct job job = {.replica = replica, .deadline_ns = sim_now_ns() + within_ns};

    job.read = judge_read_begin(max_stale_ms);
    return wait_for(sim_copy(&job, sizeof(job))) && job.read->err == 0;
}

static void read_once(void)
{
    struct replica *replica = some_replica();

    if (replica != NULL)
        read_at(replica, draw_deadline(), sim_chance(250) ? sim_between(1, 5000) : 0);
}

static void *run_client(void *arg)
{
    while (!run.ending) {
        uint64_t what = sim_below(100);

        if (what < 40)
            write_once();
        else if (what < 60)
            write_by_key();
        else
            read_once();
        sim_sleep(sim_below(run.options.think_ns));
    }
    run.active_clients--;
    return NULL;
}

/* ---- faults ---- */

static void end_cut_link(void *arg)
{
    uintptr_t link = (uintptr_t)arg;

    network_cut((int)(link / CLUSTER_MAX), (unsigned)(link % CLUSTER_MAX), false);
}

static void cut_link(void)
{
    unsigned replica = (unsigned)sim_below(run.options.replicas),
             member = (unsigned)sim_below(run.options.cluster.members);
    uintptr_t link = replica * CLUSTER_MAX + member;

    network_cut((int)replica, member, true);
    sim_after(sim_below(8 * CLOCK_NS_PER_S), end_cut_link, (void *)link);
}

static void end_cut_members(void *arg)
{
    for (unsigned i = 0; i < run.options.cluster.members; i++)
        cluster_cut((unsigned)(uintptr_t)arg, i, false);
}

static void cut_members(void)
{
    unsigned member = (unsigned)sim_below(run.options.cluster.members);

    for (unsigned i = 0; i < run.options.cluster.members; i++)
        cluster_cut(member, i, true);
    sim_after(sim_below(6 * CLOCK_NS_PER_S), end_cut_members, (void *)(uintptr_t)member);
}

static void end_kill_member(void *arg)
{
    cluster_revive((unsigned)(uintptr_t)arg);
}

static void kill_member(void)
{
    unsigned member = (unsigned)sim_below(run.options.cluster.members);

    cluster_kill(member);
    sim_after(sim_between(100, 4000) * CLOCK_NS_PER_MS, end_kill_member, (void *)(uintptr_t)member);
}

static void compact(void)
{
    int64_t revision = cluster_state()->revision;

    cluster_compact(sim_chance(500) ? revision : revision - (int64_t)sim_below(50));
}

static void end_full(void *arg)
{
    cluster_set_quota(2ULL << 30);
    cluster_compact(cluster_state()->revision);
    cluster_defragment();
    cluster_disarm();
}

static void fill(void)
{
    cluster_set_quota(cluster_state()->file + sim_below(4000));
    sim_after(sim_below(3 * CLOCK_NS_PER_S), end_full, NULL);
}

static void restore(void)
{
    if (sim_chance(600) || run.snapshot_revision == 0) {
        if (mvcc_find(cluster_state(), STR("/" JUDGE_PREFIX "/head")) == NULL)
            return; /* nobody makes a backup of nothing */
        cluster_snapshot();
        run.snapshot_revision = cluster_state()->revision;
        return;
    }
    cluster_restore(run.options.bump);
    judge_restored(run.snapshot_revision);
    run.snapshot_revision = cluster_state()->revision;
}

static void start_replica(void *arg)
{
    struct replica *replica = arg;

    if (replica->state == REPLICA_DOWN && !run.ending)
        replica_start(replica);
}

static struct replica *any_replica(void)
{
    return &run.replicas[sim_below(run.options.replicas)];
}

static void crash(bool reboots)
{
    struct replica *replica = any_replica();

    if (replica->state == REPLICA_DOWN)
        return;
    replica_kill(replica);
    if (reboots)
        replica_forget_boot(replica);
    sim_after(sim_below(2 * CLOCK_NS_PER_S), start_replica, replica);
}

static void pause_process(struct sim_process *process)
{
    uint64_t until_ns = sim_now_ns() + sim_below(4 * CLOCK_NS_PER_S);

    if (until_ns > process->pause_until)
        process->pause_until = until_ns;
}

static void make_fault(enum fault fault)
{
    switch (fault) {
    case FAULT_CUT_LINK:
        cut_link();
        break;
    case FAULT_CUT_MEMBERS:
        cut_members();
        break;
    case FAULT_KILL_MEMBER:
        kill_member();
        break;
    case FAULT_ELECT:
        cluster_elect();
        break;
    case FAULT_STALL_MEMBER:
        cluster_stall((unsigned)sim_below(run.options.cluster.members), sim_below(5 * CLOCK_NS_PER_S));
        break;
    case FAULT_HOLD_WATCHES:
        cluster_hold_watches((unsigned)sim_below(run.options.cluster.members), sim_below(6 * CLOCK_NS_PER_S));
        break;
    case FAULT_BREAK_STREAM:
        network_break_stream();
        break;
    case FAULT_COMPACT:
        compact();
        break;
    case FAULT_FULL:
        fill();
        break;
    case FAULT_RESTORE:
        restore();
        break;
    case FAULT_CRASH:
    case FAULT_REBOOT:
        crash(fault == FAULT_REBOOT);
        break;
    case FAULT_RESTART:
        replica_stop(any_replica(), true);
        break;
    case FAULT_PAUSE:
        pause_process(any_replica()->process);
        break;
    case FAULT_CLOCK:
        any_replica()->process->clock_skew_s = (int64_t)sim_below(60 * 3600) - 30 * 3600;
        break;
    case FAULTS:
        break;
    }
}

static void on_fault(void *arg)
{
    enum fault fault = (enum fault)(uintptr_t)arg;

    if (run.ending)
        return;
    sim_note("fault: %s", sim_fault_names[fault]);
    make_fault(fault);
    sim_after(sim_below(2 * run.options.fault_ns[fault]), on_fault, arg);
}

static void start_faults(void)
{
    for (uintptr_t i = 0; i < FAULTS; i++)
        if (run.options.fault_ns[i] > 0)
            sim_after(sim_below(2 * run.options.fault_ns[i]), on_fault, (void *)i);
}

/* ---- the end: everything is mended, and all must come right again ---- */

static void heal(void)
{
    sim_note("no more faults");
    run.ending = true;
    run.heal_ns = sim_now_ns();
    network_start(&(struct network_options){.delay_ns = run.options.network.delay_ns});
    for (unsigned i = 0; i < run.options.cluster.members; i++) {
        cluster_revive(i);
        for (unsigned n = 0; n < run.options.cluster.members; n++)
            cluster_cut(i, n, false);
        for (int n = 0; n < NETWORK_PROCESSES; n++)
            network_cut(n, i, false);
    }
    end_full(NULL);
}

struct completion {
    struct replica *replica;
    int64_t revision; /* etcd's when it was asked for */
    bool done, complete;
    int err;
};

static void on_complete(void *arg, int err, struct store_snapshot *snapshot)
{
    struct completion *completion = arg;

    completion->err = err;
    completion->complete = err == 0 && judge_is_complete(snapshot, completion->revision);
    completion->done = true;
    sim_wake(completion);
}

static void *run_complete(void *arg)
{
    struct completion *completion = arg;

    store_read(completion->replica->store, sim_now_ns() + COMPLETE_NS, 0, on_complete, completion);
    return NULL;
}

/* A linearizable read must show all that there is. Writes that were given up may still come to their end. */
static void check_complete(struct replica *replica)
{
    struct completion *completion = sim_alloc(sizeof(*completion));
    uint64_t deadline_ns = sim_now_ns() + COMPLETE_NS;

    completion->replica = replica;
    completion->revision = cluster_state()->revision;
    sim_spawn(replica->process, run_complete, completion);
    while (!completion->done) {
        judge_check_time(deadline_ns, 0, "the last read of replica", (uint64_t)replica->number);
        sim_block(completion, sim_now_ns() + POLL_NS);
    }
    if (completion->err < 0)
        sim_violated("replica %d cannot be read at the end: %s", replica->number, strerror(-completion->err));
    if (!completion->complete)
        sim_violated("replica %d has not what etcd has at the end", replica->number);
}

static bool works(struct replica *replica)
{
    struct judge_request *request;

    if (replica->state == REPLICA_DOWN)
        replica_start(replica);
    if (replica->state != REPLICA_SERVING || store_ready(replica->store) < 0)
        return false;
    request = judge_begin(0);
    request->count = 1;
    request->ops[0] = (struct judge_op){.table = THINGS, .expect = STORE_ANY};
    snprintf(request->ops[0].key, sizeof(request->ops[0].key), "k%d", replica->number);
    write_at(replica, request, 3 * CLOCK_NS_PER_S);
    return request->state == JUDGE_ACKNOWLEDGED && read_at(replica, 3 * CLOCK_NS_PER_S, 0);
}

static void recover(struct replica *replica)
{
    while (!works(replica)) {
        if (sim_now_ns() > run.heal_ns + RECOVER_NS)
            sim_violated("replica %d does not work %llu s after the last fault", replica->number,
                         RECOVER_NS / CLOCK_NS_PER_S);
        sim_sleep(500 * CLOCK_NS_PER_MS);
    }
}

static void *run_all(void *arg)
{
    sim_sleep(run.options.faulty_ns);
    heal();
    while (run.active_clients > 0)
        sim_sleep(POLL_NS);
    for (unsigned i = 0; i < run.options.replicas; i++)
        recover(&run.replicas[i]);
    for (unsigned i = 0; i < run.options.replicas; i++)
        check_complete(&run.replicas[i]);
    for (unsigned i = 0; i < run.options.replicas; i++)
        replica_stop(&run.replicas[i], false);
    for (unsigned i = 0; i < run.options.replicas; i++)
        while (run.replicas[i].state != REPLICA_DOWN)
            sim_sleep(POLL_NS);
    sim_stop();
    return NULL;
}

/* ---- the whole ---- */

static void start(const char *folder)
{
    const struct sim_options *options = &run.options;

    run.clients = (struct sim_process){.number = CLIENT};
    cluster_start(&options->cluster);
    network_start(&options->network);
    judge_start();
    for (unsigned i = 0; i < options->replicas; i++) {
        run.replicas[i] = (struct replica){.number = (int)i, .members = options->cluster.members, .folder = folder};
        replica_start(&run.replicas[i]);
    }
    run.active_clients = options->clients;
    for (unsigned i = 0; i < options->clients; i++)
        sim_spawn(&run.clients, run_client, NULL);
    start_faults();
    sim_spawn(&run.clients, run_all, NULL);
}

static void print_options(void)
{
    const struct sim_options *options = &run.options;

    printf("%u replicas, %u members, %u clients, faults for %.1f s\n", options->replicas, options->cluster.members,
           options->clients, (double)options->faulty_ns / 1e9);
    printf("per mille: %u late, %u requests lost, %u answers lost, %u waits without a cause, %u preemptions\n",
           options->network.late, options->network.lose_request, options->network.lose_answer,
           options->network.spurious, options->preemption);
    for (unsigned i = 0; i < FAULTS; i++)
        if (options->fault_ns[i] > 0)
            printf("%s every %.1f s\n", sim_fault_names[i], (double)options->fault_ns[i] / 1e9);
}

struct run_result run_seed(uint64_t seed, const char *folder, bool verbose)
{
    struct judge_counts counts;

    sim_init(seed, verbose);
    run.options = sim_options_draw();
    if (verbose)
        print_options();
    sim_set_preemption(run.options.preemption);
    start(folder);
    sim_run();
    counts = judge_counts();
    return (struct run_result){.hash = sim_hash(),
                               .steps = sim_steps(),
                               .revisions = cluster_state()->revision_count,
                               .requests = counts.requests,
                               .acknowledged = counts.acknowledged,
                               .reads = counts.reads,
                               .simulated_ns = sim_now_ns() - SIM_BEGIN_NS};
}
