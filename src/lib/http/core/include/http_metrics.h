/* http_metrics -- a counter family's series by status, looked up once: what the HTTP server and client count by.
 * One thread's.
 */
#pragma once
#include "metrics.h"
#include "names.h"

struct http_statuses {
    struct {
        int status;
        struct metrics_series *series;
    } seen[8];
    unsigned count;
};

/* status is an HTTP status or -errno ("ETIMEDOUT"): the family's last label; labels are those before it. May be NULL.
 */
struct metrics_series *http_status_series(struct http_statuses *statuses, struct metrics_family *family, int status,
                                          const struct str *labels, unsigned label_count);
