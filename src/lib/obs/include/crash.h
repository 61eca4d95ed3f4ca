/* crash -- a report of the process's death: one JSON line when it dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT
 * (which failed assertions raise), in whatever format the log is.
 *
 * The line has severity CRITICAL, serviceContext and labels as every line, and a member crash: signal, the address of
 * the access for SIGSEGV and SIGBUS, thread, tid, what was last written to stderr for SIGABRT, the build id of the
 * program, version, and frames, each FILE+OFFSET, the innermost first. scripts/symbolize turns them into lines of
 * source. The process then dies of the signal as it would have without the report; core files and sanitizers work.
 *
 * Frames are found by the unwind tables that the program and its libraries carry. A thread of thread.h reports an
 * overflow of its stack, too. Where the report itself crashes, there is none, or half a line.
 */
#pragma once
#include "names.h"

/* Before the first thread; the strings are copied. The line goes to fd in one write of at most 4 KiB, so that it stays
 * whole in a pipe; lines that are queued in a log get a moment to be written before it. */
void crash_report_to(int fd, const char *service);
/* Of the program, in hexadecimal digits; "" where it has none, or crash_report_to was not called. */
const char *crash_build_id(void);
