/* report -- what a load was and how it went: a table for people, JSON for programs. */
#pragma once
#include "load.h"
#include <stdio.h>

void report_text(const struct load_result *result, FILE *out);
/* One line. -ENOMEM. */
int report_json(const struct load_result *result, const char *server, FILE *out);
uint64_t report_failed(const struct load_result *result); /* calls */
