/* Decision 24 says which versions these are, and why they are good enough for development. */
#include "svc_libraries.h"
#include <h2o/version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* C-core has versions of its own: 29 is in gRPC 1.51 of 2022, 56 in 1.83. The vulnerabilities known so far
 * (CVE-2023-4785, CVE-2023-33953, CVE-2024-7246, CVE-2024-11407) are in no release after 1.66; the border here is not
 * exact.
 */
enum { LEAST_C_CORE = 44 };

static bool is_old_h2o(void)
{
    return H2O_VERSION_MAJOR < 2 || (H2O_VERSION_MAJOR == 2 && H2O_VERSION_MINOR < 3);
}

static bool is_old_c_core(const char *version)
{
    return version != NULL && atoi(version) < LEAST_C_CORE;
}

/* Of C-core: "56.0.0". Not there in programs without a gRPC client (library.c of rpc/client refers to it). */
const char *grpc_version_string(void) __attribute__((weak));

void svc_libraries_warn(struct log *log)
{
    const char *c_core = grpc_version_string != NULL ? grpc_version_string() : NULL;
    char h2o_name[64] = "", c_core_name[64] = "", names[160];

    if (is_old_h2o())
        snprintf(h2o_name, sizeof(h2o_name), "h2o %s", H2O_VERSION);
    if (is_old_c_core(c_core))
        snprintf(c_core_name, sizeof(c_core_name), "gRPC C-core %s", c_core);
    if (h2o_name[0] == '\0' && c_core_name[0] == '\0')
        return;
    snprintf(names, sizeof(names), "%s%s%s", h2o_name, h2o_name[0] != '\0' && c_core_name[0] != '\0' ? ", " : "",
             c_core_name);
    log_fields(log, LOG_WARNING, NULL, "for development only: built with libraries that have known vulnerabilities",
               (struct log_field[]){LOG_CSTR("libraries", names)}, 1);
}
