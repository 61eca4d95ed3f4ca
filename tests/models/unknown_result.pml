/* A commit whose answer got lost. The writer sends a transaction that holds its unique id; the answer may be lost although
 * etcd has, or will yet have, committed it. Before anything is tried again or answered, the id is read back; and the
 * transaction expects the id to be absent, so that a late first attempt and a second one never both take effect.
 *
 * Properties: the write takes effect at most once; "written" is answered only if it did; "failed" only if it never will.
 *
 * Broken variants: BLIND_RETRY (tries again without expecting the id to be absent), FAIL_UNKNOWN (answers "failed" when the
 * answer is lost), NO_FENCE (reads back once, finds nothing, and answers "failed" while the attempt may still arrive),
 * TRUST_ERROR (answers "failed" when etcd answers with an error).
 */
#define ATTEMPTS 2

byte effects = 0;   /* how often the write has taken effect */
bool id_there = false, fenced = false;
byte in_flight = 0; /* attempts that etcd may still commit */
mtype = { pending, written, failed }
mtype answer = pending;
bool reply = false, error = false;

/* etcd commits an attempt at some time, or it is lost on the way. */
active proctype etcd()
{
    end: do
    :: atomic { in_flight > 0 ->
        in_flight--;
        if
        :: fenced -> skip             /* the expectation fails: the fence is there */
#ifdef BLIND_RETRY
        :: !fenced -> effects++; id_there = true
#else
        :: !fenced && !id_there -> effects++; id_there = true
        :: !fenced && id_there -> skip /* the expectation fails: the first attempt was there */
#endif
        :: true -> skip               /* lost on the way */
        fi;
        if
        :: id_there -> reply = true
        :: true -> error = true       /* whether it has taken effect or not */
        :: true -> skip               /* the answer is lost */
        fi }
    od
}

active proctype writer()
{
    byte attempts = 0;
    do
    :: attempts < ATTEMPTS ->
        attempts++;
        atomic { reply = false; error = false; in_flight++ };
        if
#ifdef TRUST_ERROR
        :: error -> atomic { answer = failed; break }
#endif
        :: reply -> atomic { answer = written; break }
        :: true -> skip /* timed out: unknown */
        fi;
#ifdef FAIL_UNKNOWN
        answer = failed; break
#else
        if
        :: atomic { id_there -> answer = written; break }
        :: !id_there -> skip
        fi
#endif
    :: attempts == ATTEMPTS ->
#ifndef NO_FENCE
        /* The last word: a transaction that puts a fence if the id is absent, so that no attempt can come after it. Its own
         * result is tried for until known. */
        atomic {
            if
            :: id_there -> answer = written
            :: !id_there -> fenced = true; answer = failed
            fi }
#else
        answer = failed
#endif
        ; break
    od
}

active proctype observer()
{
    end: do
    :: atomic {
        assert(effects <= 1);
        assert(answer != written || effects == 1);
        assert(answer != failed || effects == 0) }
    od
}
