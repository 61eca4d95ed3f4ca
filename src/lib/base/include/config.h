/* config -- a service's options: a table of names with defaults, limits and units, read from the environment, then
 * from flags (PORT=8080 is --port 8080 or --port=8080: lower case, _ becomes -).
 *
 * An empty environment variable counts as not set. Errors are one line that names the option, the value and what is
 * allowed. A loaded configuration never changes: any thread may read it.
 */
#pragma once
#include "names.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_kind {
    CONFIG_STRING, /* min, max bound its length in bytes where max is not 0 */
    CONFIG_INT,    /* min <= value <= max; min == max == 0 means any that is not negative */
    CONFIG_BYTES,  /* as CONFIG_INT, with an optional suffix Ki, Mi, Gi or Ti */
    CONFIG_BOOL,   /* true, false, 1, 0; a flag is true, or --name=value */
    CONFIG_CHOICE, /* one of choices, separated by '|' */
};

struct config_option {
    const char *name;  /* as in the environment; NULL ends a table */
    const char *value; /* the default; CONFIG_REQUIRED: there is none, it must be set */
    enum config_kind kind;
    int64_t min, max;
    const char *choices;
    const char *unit; /* "ms", "threads", ...: for --help; may be NULL */
    const char *help; /* one line, for --help */
    /* A further condition on a value that is set: NULL where it holds, else what it must be ("must be host:port"), a
     * constant. It asks neither network nor disk, for -n calls it too. May be NULL. */
    const char *(*check)(const char *value);
    bool secret; /* config_describe hides its value */
};

#define CONFIG_REQUIRED ((const char *)NULL)

struct config;

/* Several tables become one, in their order; a name that stands in two tables has its default from the later one.
 * The tables must outlive the configuration. error receives one line without a newline.
 * Returns 0, -EINVAL (error says why), or -ENOMEM. */
int config_load(const struct config_option *const tables[], size_t table_count, int argc, char **argv,
                struct config **ret_config, char *error, size_t error_size);
struct config *config_free(struct config *config); /* returns NULL */

/* Values. Asking for a name that no table has, or as another kind, is a bug and asserts. */
const char *config_string(const struct config *config, const char *name);
int64_t config_int(const struct config *config, const char *name); /* CONFIG_INT and CONFIG_BYTES */
bool config_bool(const struct config *config, const char *name);

struct buf;
/* Appends a JSON object: the names of all options, and their values in force as strings. A secret that is set is
 * "(hidden)". */
void config_describe(const struct config *config, struct buf *out);

/* The text of --help's option list: a line or two an option: flag, environment name, default, limits, unit, help.
 * heap, to be freed by the caller; NULL out of memory. */
char *config_help(const struct config_option *const tables[], size_t table_count);
