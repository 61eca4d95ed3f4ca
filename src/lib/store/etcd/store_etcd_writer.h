/* store_etcd_writer -- what the files of the writer share: writer.c above batch.c above lane.c above waiting.c. */
#pragma once
#include "store_etcd_internal.h"

/* ---- waiting.c ---- */

/* There may be something for the writer's thread to do. Under the lock. */
void etcd_writer_call(struct etcd *etcd);

/* Answers that are to be given when the lock has been left. Zeroed: none. */
struct etcd_answers {
    struct store_batch *first, **last;
};

void etcd_answer_later(struct etcd_answers *answers, struct store_batch *take_request); /* with the result it has */
void etcd_fail_later(struct etcd_answers *answers, struct store_batch *take_request, int err);
void etcd_answers_give(struct etcd *etcd, struct etcd_answers *answers); /* not under the lock */

/* Counts the request's keys as under way, or no more (by -1). */
void etcd_keys_mark(struct etcd_writer *writer, const struct store_batch *request, int by);
bool etcd_keys_are_marked(struct etcd_writer *writer, const struct store_batch *request);

/* To the front of what waits: it came before. Several: the last first. */
void etcd_wait_again(struct etcd_writer *writer, struct store_batch *take_request);
/* Takes *link's request out; link then points to the next. */
struct store_batch *etcd_take_waiting(struct etcd_writer *writer, struct store_batch **link);
/* A request that is neither waiting nor on a lane counts as waiting where that is bounded. */
void etcd_doubt_begun(struct etcd_writer *writer, const struct store_batch *request);
void etcd_doubt_ended(struct etcd_writer *writer, const struct store_batch *request);
/* Whether what waits is to be sent now, if a lane is free. */
bool etcd_is_worth_a_batch(const struct etcd_writer *writer, uint64_t now_ns);
/* Fills an idle lane with requests that wait; there may be none. */
void etcd_choose(struct etcd_lane *lane);

/* ---- lane.c ---- */

enum etcd_lane_event {
    LANE_OPEN,       /* its key is being put */
    LANE_OPENED,     /* the key is there */
    LANE_NOT_OPENED, /* that failed */
    LANE_SEND,       /* it gets a batch */
    LANE_REFUSED,    /* the batch has certainly changed nothing, and never will */
    LANE_KEY_GONE,   /* nor has this one: the lane's key has been cleaned up */
    LANE_LOST,       /* nobody knows what the batch has changed */
    LANE_FENCE,      /* the key is being asked for, and deleted */
    LANE_NOT_FENCED, /* that failed */
    LANE_FENCED,     /* the key is gone, or another's */
    LANE_COMMIT,     /* the batch is in etcd: by its answer, the watch, or its key */
    LANE_APPLIED,    /* and in the view, or no request waits for that */
    LANE_EVENTS
};

/* Into the state that follows; an event that cannot come in this state is a bug. Wakes the writer where that has
 * something to do then. */
void etcd_lane_move(struct etcd_lane *lane, enum etcd_lane_event event);

/* How a request ends. */
struct etcd_end {
    enum { ETCD_END_ANSWER, ETCD_END_AGAIN, ETCD_END_FAIL } kind;
    int err; /* of ETCD_END_FAIL */
};

#define ETCD_ANSWER     ((struct etcd_end){.kind = ETCD_END_ANSWER}) /* with the result that it has */
#define ETCD_AGAIN      ((struct etcd_end){.kind = ETCD_END_AGAIN})
#define ETCD_FAIL(err_) ((struct etcd_end){.kind = ETCD_END_FAIL, .err = (err_)})

/* Ends the lane's request i, if it has not ended before. */
void etcd_lane_end(struct etcd_lane *lane, unsigned i, struct etcd_end end, struct etcd_answers *answers);
etcd_called etcd_lane_written; /* for etcd_call, with the lane */
void etcd_lane_opened(struct etcd_lane *lane, int err, int64_t revision);
void etcd_lane_fenced(struct etcd_lane *lane, int err, const struct etcd_fence *fence);

/* ---- batch.c ---- */

/* Of a lane that has just got a batch. Not under the lock. */
void etcd_batch_send(struct etcd_lane *lane);
