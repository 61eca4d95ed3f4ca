/* Linearizable reads behind an etcd that is replaced: restored from a backup, or another one at the same addresses. Its
 * history is another one then, and may come to the same revisions. A read asks for the head, which names a revision and,
 * by its value, the history; it is made when the view has seen that very head. The view is loaded anew at some time after
 * the replacement. Until then it is still the old history's.
 *
 * The follower checks that etcd has the view's history, loads the view anew where it has not, and creates a watch. etcd may be
 * replaced between the two, so the check is repeated when the watch exists; a watch ends with the etcd that it was created at.
 *
 * Property: a read that began after a write was acknowledged in the present history shows that history, and the write.
 *
 * Broken variants: REVISION_ONLY (the view's revision is compared, not its head), NOT_REPEATED (the check is not repeated).
 */
#define LAST 3

byte present = 0;     /* etcd's history: 0, later 1 */
byte log_end[2];      /* its last revision */
byte acknowledged[2]; /* the last revision that a writer has been told of */
byte base = 0, seen = 0, applied = 0; /* the view: the history of its records when loaded, and of its last head */

active proctype writers() /* of other replicas */
{
    end: do
    :: atomic { log_end[present] < LAST -> log_end[present]++; acknowledged[present] = log_end[present] }
    od
}

active proctype operator()
{
    end: do
    :: atomic { present == 0 -> present = 1 }
    od
}

active proctype follower()
{
    byte watched;

start:
    if
    :: atomic { seen == present -> skip }
    :: atomic { seen != present -> base = present; seen = present; applied = log_end[present] } /* loaded anew */
    fi;
    watched = present; /* the watch is created */
#ifndef NOT_REPEATED
    if
    :: atomic { seen == present -> skip }
    :: atomic { seen != present -> goto start }
    fi;
#endif
    end: do
    :: atomic { watched == present && applied < log_end[present] -> applied++; seen = watched }
    :: atomic { watched != present -> goto start }
    od
}

active [2] proctype reader()
{
    byte began_history, began, head_history, head;

    atomic { began_history = present; began = acknowledged[present] };
    end: do
    :: true ->
        atomic { head_history = present; head = log_end[present] }; /* etcd's answer */
        do
        :: applied < head -> applied >= head
        :: atomic { applied >= head ->
#ifdef REVISION_ONLY
            break
#else
            if
            :: seen == head_history -> break
            :: else -> head = 255; break /* another history: it asks again */
            fi
#endif
            }
        od;
        if
        :: head == 255 -> skip
        :: else -> break
        fi
    od;
    atomic {
        assert(base >= began_history);
        assert(base > began_history || applied >= began)
    }
}
