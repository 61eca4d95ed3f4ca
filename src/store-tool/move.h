/* move -- what store-tool does: records from a store to a file, back, and comparisons. Each says on standard error what
 * went wrong, and returns 0 or -errno. Blocking; one thread. */
#pragma once
#include "stream.h"

/* file NULL: only the summary. path is for messages; the store may be in use (see STORE_INSPECT). */
int move_out(const char *url, FILE *file, struct stream_summary *ret_summary);
/* Reads path twice: nothing is changed before it is known to be whole. -EALREADY: has been done. */
int move_in(const char *url, const char *path, uint64_t max_bytes, struct stream_summary *ret_summary);
/* Checks a file. */
int move_check(const char *path, struct stream_summary *ret_summary);
