/* How a replica's view follows etcd. Each revision of the log holds two changes (a batch). The view stores the last revision
 * it has applied in the same transaction as the changes, and resumes at the next one after a cut or a kill. When etcd has
 * compacted what it would need, it copies a snapshot of one revision, in pages, into a fresh database while the old one
 * goes on serving; then it switches and goes on from there.
 *
 * The state after revision r is: both counters are r. So a change that is missed, or applied twice, shows.
 *
 * Properties: what is served is always the whole state of one revision, never goes back, and in the end is the last one.
 *
 * Broken variants: SEPARATE (revision stored in a transaction of its own), AGAIN (resumes at the revision it has), HALVES (a
 * revision's changes in two transactions), IN_PLACE (the copy is made in the database that serves), SKIP (goes on one
 * revision too late after the copy).
 */
#define LAST 3

byte log_end = 0, compacted = 0;
/* Databases: two counters and the revision that stands with them. */
byte first[2], second[2], revision[2];
byte serving = 0;
byte cuts = 2, served = 0;
bool connected = false;

active proctype etcd()
{
    end: do
    :: log_end < LAST -> log_end++
    :: atomic { compacted < log_end -> compacted++ }
    od
}

/* A kill or a cut connection: what is not committed is gone; the view begins anew from what stands in the database. */
#define CUT if :: cuts > 0 -> cuts--; connected = false; goto start :: true fi

active proctype view()
{
    byte next, fresh, at;
start:
    connected = true;
#ifdef AGAIN
    next = (revision[serving] == 0 -> 1 : revision[serving]);
#else
    next = revision[serving] + 1;
#endif
    end: do
    :: next <= compacted && next <= log_end && revision[serving] < compacted ->
        /* resync: a snapshot at one revision, two pages */
        at = log_end;
#ifdef IN_PLACE
        fresh = serving;
#else
        fresh = 1 - serving;
#endif
        first[fresh] = at;
        CUT;
        second[fresh] = at;
        CUT;
        atomic { revision[fresh] = at; serving = fresh };
#ifdef SKIP
        next = at + 2
#else
        next = at + 1
#endif
    :: next <= log_end && !(next <= compacted && revision[serving] < compacted) ->
#ifdef HALVES
        first[serving]++;
        CUT;
        atomic { second[serving]++; revision[serving] = next; next++ };
#else
#ifdef SEPARATE
        atomic { first[serving]++; second[serving]++ };
        CUT;
        revision[serving] = next; next++;
#else
        atomic { first[serving]++; second[serving]++; revision[serving] = next; next++ };
#endif
#endif
        CUT
    od
}

active proctype reader()
{
    end: do
    :: atomic {
        assert(first[serving] == second[serving]);       /* whole */
        assert(first[serving] <= log_end);               /* nothing from nowhere, nothing twice */
        assert(first[serving] >= served);                /* never back */
        assert(revision[serving] == first[serving]);     /* the state of its revision */
        served = first[serving] }
    od
}
