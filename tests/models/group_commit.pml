/* Group commit of the lmdb engine: requests wait in a queue, the writer takes all that wait into one transaction, commits
 * it, and answers after that. The process may be killed at any moment; it starts again with what was committed.
 *
 * Properties
 *   durable   a request that was answered "written" is in the data, also after a kill
 *   exact     a request is answered at most once, and "written" only if it was applied whole
 *   alone     a request whose expectation fails (request 0 expects what is not there) fails alone
 *   no_room   what does not fit (the commit fails) is answered "no room" and leaves no trace
 *
 * Broken variants: ACK_BEFORE_COMMIT, LOST_MEMBER (a batch that failed is tried again in halves; one member is forgotten
 * but answered), FAIL_ALL (a failed expectation aborts the batch after others in it were answered).
 */
#define N 3
#define FAILS 0 /* the request whose expectation fails */

mtype = { none, written, refused, no_room }

bool queued[N], taken[N];
bool in_txn[N];    /* applied in the open transaction */
bool committed[N]; /* what a restart finds */
mtype answer[N] = none;
byte space = 2;    /* how many records fit */
byte kills = 2;
bool up = true;

#define ANSWER(i, what) assert(answer[i] == none); answer[i] = what

active [N] proctype client()
{
    byte me = _pid;
    atomic { up -> queued[me] = true }
}

inline take_batch()
{
    atomic {
        i = 0;
        do
        :: i < N ->
            if
            :: queued[i] && answer[i] == none -> taken[i] = true; queued[i] = false; any = true
            :: else
            fi;
            i++
        :: else -> break
        od
    }
}

/* Applies the taken ones to the transaction; the expectation is judged here. */
inline apply_batch()
{
    atomic {
        i = 0; used = 0;
        do
        :: i < N ->
            if
            :: committed[i] -> used++
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < N ->
            if
            :: taken[i] && i == FAILS ->
                refusal = true
            :: taken[i] && i != FAILS ->
#ifdef LOST_MEMBER
                if
                :: used + 1 > space - 1 && i == N - 1 -> skip /* "tried again", but forgotten */
                :: else -> in_txn[i] = true; used++
                fi
#else
                in_txn[i] = true; used++
#endif
            :: else
            fi;
            i++
        :: else -> break
        od
    }
}

inline answer_batch(what)
{
    i = 0;
    do
    :: i < N ->
        if
        :: taken[i] && i != FAILS -> ANSWER(i, what); taken[i] = false
        :: else
        fi;
        i++
    :: else -> break
    od
}

inline drop_txn()
{
    i = 0;
    do
    :: i < N -> in_txn[i] = false; i++
    :: else -> break
    od
}

inline commit_txn()
{
    i = 0;
    do
    :: i < N ->
        if
        :: in_txn[i] -> committed[i] = true; in_txn[i] = false
        :: else
        fi;
        i++
    :: else -> break
    od
}

active proctype writer()
{
    byte i, used;
    bool any = false, refusal = false;

    do
    :: up ->
        any = false; refusal = false;
        take_batch();
        if
        :: !any -> skip
        :: any ->
            apply_batch();
#ifdef ACK_BEFORE_COMMIT
            atomic { up -> answer_batch(written) }
#endif
            if
            :: refusal ->
                atomic {
                    ANSWER(FAILS, refused); taken[FAILS] = false;
#ifdef FAIL_ALL
                    answer_batch(written); drop_txn()
#endif
                }
            :: else
            fi;
            atomic {
                if
                :: !up -> skip /* killed in between: nothing of this was done */
                :: up && used > space -> drop_txn(); answer_batch(no_room)
                :: up && used <= space ->
                    commit_txn();
#ifdef LOST_MEMBER
                    skip
#endif
                fi
            };
            /* A kill between commit and answer: written, but nobody was told. */
            atomic {
                if
                :: up -> answer_batch(written)
                :: else
                fi
            }
        fi
    :: !up -> /* the new process */
        atomic {
            drop_txn();
            i = 0;
            do
            :: i < N -> taken[i] = false; queued[i] = false; i++
            :: else -> break
            od;
            up = true
        }
    od
}

active proctype killer()
{
    do
    :: kills > 0 && up -> atomic { up = false; kills-- }
    :: kills == 0 -> break
    :: true -> break
    od
}

active proctype observer()
{
    byte i = 0;
    end: do
    :: atomic {
        i = 0;
        do
        :: i < N ->
            assert(answer[i] != written || committed[i]); /* durable, exact */
            assert(answer[i] != no_room || !committed[i]);   /* no_room */
            assert(i != FAILS || !committed[i]);          /* alone: refused means not written */
            assert(i == FAILS || answer[i] != refused);   /* alone: nobody else is refused */
            i++
        :: else -> break
        od }
    od
}
