/* move -- what store-tool does: records from a store to a file, back, and comparisons. Each says on standard error what
 * went wrong, and returns 0 or -errno. Blocking; one thread. */
#pragma once
#include "stream.h"

/* file NULL: only the summary. path is for messages; the store may be in use (see STORE_INSPECT). Then what is read
 * must not be held for long, or deletes make no room for writes: the process ends when no record has been written for
 * patience_s seconds, also where it is stopped (SIGSTOP). */
int move_out(const char *url, FILE *file, unsigned patience_s, struct stream_summary *ret_summary);
/* Reads path twice: nothing is changed before it is known to be whole. Sequence numbers go on behind the last one of
 * the file and lost_seqs more. -EALREADY: has been done. */
int move_in(const char *url, const char *path, uint64_t max_bytes, uint64_t lost_seqs,
            struct stream_summary *ret_summary);
/* Checks a file. */
int move_check(const char *path, struct stream_summary *ret_summary);
