/* Linearizable reads from a replica's local view. etcd is one log of revisions (its own agreement is not modelled); every
 * replica applies it in order, later. A write is acknowledged after etcd has it and the writing replica has applied it. A
 * read joins the batch of waiting reads; the batch asks etcd for the last revision, waits until the view has applied it,
 * and reads the view.
 *
 * Property: a read returns at least every revision that was acknowledged, or seen by any read that ended, before it began.
 *
 * Broken variants: STALE_READ (reads the view at once), JOIN_SENT (a read joins a batch whose question was sent before the
 * read began), NO_WAIT (does not wait for the view), ACK_EARLY_STALE (answers writes before etcd has them).
 */
#define REPLICAS 2
#define WRITES 2
#define READS 1

byte log_end = 0;          /* etcd's last revision */
byte applied[REPLICAS];    /* of each view */
byte floor = 0;            /* the highest revision that anybody has been told of */
byte writes_left = WRITES;

/* One batch a replica: 0 collecting, 1 asked, 2 answered; head is etcd's answer. */
byte head[REPLICAS];
bool asked[REPLICAS];
byte round[REPLICAS];      /* number of the question sent last */
byte answered[REPLICAS];   /* number of the question answered last */

active [REPLICAS] proctype applier()
{
    byte me = _pid % REPLICAS;
    end: do
    :: atomic { applied[me] < log_end -> applied[me]++ }
    od
}

active proctype writer() /* at replica 0 */
{
    byte me = 0, mine;
    do
    :: atomic { writes_left > 0 -> writes_left--;
#ifdef ACK_EARLY_STALE
        mine = log_end + 1;
        if
        :: mine > floor -> floor = mine
        :: else
        fi
        };
        atomic { log_end++ }
#else
        log_end++; mine = log_end };
        atomic { applied[me] >= mine ->
            if
            :: mine > floor -> floor = mine
            :: else
            fi }
#endif
    :: writes_left == 0 -> break
    od
}

/* The batch: a question is sent, later answered with etcd's last revision at some moment in between. */
active [REPLICAS] proctype asker()
{
    byte me = _pid % REPLICAS, revision;
    end: do
    :: atomic { !asked[me] && round[me] < READS + 1 -> asked[me] = true; round[me]++ };
       revision = log_end; /* etcd looks */
       atomic { head[me] = revision; answered[me] = round[me]; asked[me] = false }
    od
}

active [REPLICAS] proctype reader()
{
    byte me = _pid % REPLICAS, reads = READS, began, join, wanted;
    do
    :: reads > 0 ->
        reads--;
        atomic {
            began = floor;
#ifdef JOIN_SENT
            join = round[me] /* the question under way, if there is one, else the last answer */
#else
            join = round[me] + 1 /* a question that is still to be sent */
#endif
        };
#ifdef STALE_READ
        wanted = 0 * join;
#else
        if
        :: atomic { answered[me] >= join -> wanted = head[me] }
        :: round[me] >= READS + 1 && answered[me] < join && !asked[me] -> break /* the model's bound on questions */
        fi;
#ifndef NO_WAIT
        applied[me] >= wanted;
#endif
#endif
        atomic {
            assert(applied[me] >= began);
            if
            :: applied[me] > floor -> floor = applied[me]
            :: else
            fi
        }
    :: reads == 0 -> break
    od
}
