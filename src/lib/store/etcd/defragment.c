/* Defragmentation: a member writes its file anew, without what nothing uses. Meanwhile it applies nothing, and a leader
 * that applies nothing soon sends no heartbeats either: writes wait until another one is elected. So the leader comes
 * last, when it is none any more. */
#include "store_etcd_internal.h"
#include <errno.h>
#include <stdlib.h>

#define DEFRAGMENT_TIMEOUT_MS (600 * 1000)
#define MOVE_TIMEOUT_MS       5000
#define SETTLE_NS             (60 * CLOCK_NS_PER_S) /* until a member has caught up, or is no leader any more */
#define PAUSE_NS              (100 * CLOCK_NS_PER_MS)
#define MAX_WHY               200

struct member {
    uint64_t id, leader, index, applied; /* of the log */
    uint64_t size, free;
    bool done;
};

struct upkeep {
    struct etcd_client client;
    unsigned count;
    struct member members[ETCD_MAX_ENDPOINTS];
    unsigned leader; /* count: there is none, or the endpoints do not name it */
    char *error;
    size_t error_size;
};

static int blame(struct upkeep *upkeep, unsigned endpoint, int err, const char *why)
{
    return store_fail(upkeep->error, upkeep->error_size, err, "etcd at %s: %s",
                      upkeep->client.endpoints[endpoint].target, why);
}

static int call(struct upkeep *upkeep, unsigned endpoint, const char *method, const ProtobufCMessage *request,
                unsigned timeout_ms, etcd_answered *answered, void *arg)
{
    char why[MAX_WHY];
    int err = etcd_member_call(&upkeep->client, endpoint, method, request, timeout_ms, answered, arg, why, sizeof(why));

    return err < 0 ? blame(upkeep, endpoint, err, why) : 0;
}

/* ---- how the members are ---- */

static void keep_status(void *arg, const ProtobufCMessage *reply)
{
    const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)reply;
    struct member *member = arg;

    member->id = status->header != NULL ? status->header->member_id : 0;
    member->leader = status->leader;
    member->index = status->raftindex;
    member->applied = status->raftappliedindex;
    member->size = status->dbsize > 0 ? (uint64_t)status->dbsize : 0;
    member->free = status->dbsize > status->dbsizeinuse ? (uint64_t)(status->dbsize - status->dbsizeinuse) : 0;
}

/* All of them, or none is touched. */
static int look(struct upkeep *upkeep)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;

    upkeep->leader = upkeep->count;
    for (unsigned i = 0; i < upkeep->count; i++) {
        int err = call(upkeep, i, "Status", &request.base, ETCD_STATUS_TIMEOUT_MS, keep_status, &upkeep->members[i]);

        if (err < 0)
            return err;
        if (upkeep->members[i].id != 0 && upkeep->members[i].id == upkeep->members[i].leader)
            upkeep->leader = i;
    }
    return 0;
}

static uint64_t end_of_log(const struct upkeep *upkeep)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < upkeep->count; i++)
        end = upkeep->members[i].index > end ? upkeep->members[i].index : end;
    return end;
}

/* Until the member has applied what the log holds now, and is not the leader unless it may be. */
static int settle(struct upkeep *upkeep, unsigned endpoint, bool may_lead)
{
    uint64_t until_ns = upkeep->client.world->monotonic_ns() + SETTLE_NS;
    int err = look(upkeep);
    uint64_t end = end_of_log(upkeep);

    while (upkeep->client.world->monotonic_ns() < until_ns) {
        if (err == 0 && upkeep->members[endpoint].applied >= end && upkeep->members[endpoint].leader != 0 &&
            (may_lead || upkeep->leader != endpoint))
            return 0;
        upkeep->client.world->sleep(PAUSE_NS);
        err = look(upkeep);
    }
    return err < 0 ? err : blame(upkeep, endpoint, -ETIMEDOUT, "it does not catch up with the others");
}

/* ---- one after the other ---- */

static int hand_over(struct upkeep *upkeep, unsigned leader)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    int err;

    request.targetid = upkeep->members[(leader + 1) % upkeep->count].id;
    err = call(upkeep, leader, "MoveLeader", &request.base, MOVE_TIMEOUT_MS, NULL, NULL);
    return err < 0 ? err : settle(upkeep, leader, false);
}

static bool is_worth_it(const struct member *member, unsigned min_free_percent)
{
    return member->free * 100 >= member->size * min_free_percent;
}

/* One that is not the leader, as long as there is one. */
static unsigned next_member(const struct upkeep *upkeep)
{
    unsigned next = upkeep->count;

    for (unsigned i = 0; i < upkeep->count; i++)
        if (!upkeep->members[i].done && (next == upkeep->count || next == upkeep->leader))
            next = i;
    return next;
}

static int defragment(struct upkeep *upkeep, unsigned endpoint)
{
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    int err = 0;

    if (endpoint == upkeep->leader && upkeep->count > 1)
        err = hand_over(upkeep, endpoint);
    if (err == 0)
        err = call(upkeep, endpoint, "Defragment", &request.base, DEFRAGMENT_TIMEOUT_MS, NULL, NULL);
    return err < 0 ? err : settle(upkeep, endpoint, true);
}

static int take_turns(struct upkeep *upkeep, unsigned min_free_percent, store_defragmented *told, void *arg)
{
    int err = look(upkeep);
    unsigned i;

    while (err == 0 && (i = next_member(upkeep)) < upkeep->count) {
        struct member *member = &upkeep->members[i];
        struct store_member result = {upkeep->client.endpoints[i].target, member->size, member->free, 0};

        if (is_worth_it(member, min_free_percent)) {
            err = defragment(upkeep, i);
            result.new_size = member->size;
        }
        member->done = true;
        if (err == 0)
            told(arg, &result);
    }
    return err;
}

int etcd_defragment(const char *rest, unsigned min_free_percent, store_defragmented *told, void *arg, char *error,
                    size_t error_size)
{
    struct upkeep upkeep = {.error = error, .error_size = error_size};
    const char *why = NULL;
    struct etcd_url url;
    int err = etcd_url_parse(rest, &url, &why);

    if (err < 0) {
        store_fail(error, error_size, err, "store etcd://%s: %s", rest, why != NULL ? why : strerror(-err));
    } else {
        upkeep.count = url.endpoint_count;
        err = etcd_client_open(&upkeep.client, &etcd_real_world, &url, NULL, error, error_size);
        if (err == 0)
            err = take_turns(&upkeep, min_free_percent, told, arg);
        etcd_client_close(&upkeep.client);
    }
    etcd_url_release(&url);
    return err;
}
