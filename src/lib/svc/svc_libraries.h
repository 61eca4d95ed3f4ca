/* svc_libraries -- says in the log when a program was built with libraries that have known vulnerabilities. */
#pragma once
#include "include/names.h"
#include "log.h"

/* Logs one WARNING that names them, or nothing. */
void svc_libraries_warn(struct log *log);
