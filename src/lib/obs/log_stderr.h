/* log_stderr -- what was last written to the stream stderr while a log had it. */
#pragma once
#include "buf.h"
#include "include/names.h"

struct str log_stderr_last(void); /* for signal handlers of SIGABRT; empty: nothing */
