/* Room in etcd. At its quota etcd takes no put at all until somebody disarms the alarm by hand, and every transaction
 * of the store has puts, those that delete records, too. So that it does not come to that, puts of records are refused
 * when the file of a member has come to CROWDED of the quota: what is left is for deletes, which make room.
 *
 * Each member is asked for its size: every POLL_NS, and every CLOSE_POLL_NS from half of the quota on. What this
 * process has sent since the answer before the last one counts, too, because the size that etcd tells is up to 0.1 s
 * old. etcd tells its quota from version 3.6 on; where it does not, only etcd bounds its file. The writer's thread
 * asks; answers come in threads of the client. A member that does not answer MAX_FAILURES times in a row does not
 * count: what the others are sent does not grow its file. */
#include "store_etcd_internal.h"
#include <errno.h>

#define POLL_NS       (1 * CLOCK_NS_PER_S)
#define CLOSE_POLL_NS (200 * CLOCK_NS_PER_MS)
#define TIMEOUT_MS    1000
#define CROWDED       (15.0 / 16)
#define MAX_FAILURES  10

static void on_status(void *arg, int err, const ProtobufCMessage *reply)
{
    const Etcdserverpb__StatusResponse *status = (const Etcdserverpb__StatusResponse *)reply;
    struct etcd_room *room = arg;

    if (err == 0) {
        room->failures = 0;
        atomic_store(&room->sent_before, atomic_exchange(&room->sent, 0));
        atomic_store(&room->size, (uint64_t)(status->dbsize > 0 ? status->dbsize : 0));
        atomic_store(&room->quota, (uint64_t)(status->dbsizequota > 0 ? status->dbsizequota : 0));
    } else if (++room->failures == MAX_FAILURES) {
        atomic_store(&room->quota, 0);
    }
    atomic_store(&room->asked, false);
}

static double fullness(struct etcd_room *room)
{
    uint64_t quota = atomic_load(&room->quota);

    return quota > 0 ? (double)(atomic_load(&room->size) + atomic_load(&room->sent) + atomic_load(&room->sent_before)) /
                           (double)quota
                     : 0;
}

double etcd_room_fullness(struct etcd *etcd)
{
    double most = 0;

    for (unsigned i = 0; i < etcd->url.endpoint_count; i++)
        most = fullness(&etcd->rooms[i]) > most ? fullness(&etcd->rooms[i]) : most;
    return most;
}

bool etcd_room_is_crowded(struct etcd *etcd)
{
    return etcd_room_fullness(etcd) >= CROWDED;
}

void etcd_room_sent(struct etcd *etcd, uint64_t bytes)
{
    for (unsigned i = 0; i < etcd->url.endpoint_count; i++)
        atomic_fetch_add(&etcd->rooms[i].sent, bytes);
}

void etcd_room_tick(struct etcd *etcd, uint64_t now_ns)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;

    for (unsigned i = 0; i < etcd->url.endpoint_count; i++) {
        struct etcd_room *room = &etcd->rooms[i];

        if (now_ns < atomic_load(&room->next_ns) || atomic_exchange(&room->asked, true))
            continue;
        atomic_store(&room->next_ns, now_ns + (fullness(room) >= 0.5 ? CLOSE_POLL_NS : POLL_NS));
        etcd_member_ask(&etcd->client, i, "Status", &request.base, TIMEOUT_MS, on_status, room);
    }
}
