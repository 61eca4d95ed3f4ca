#include "http_metrics.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static struct metrics_series *find_series(struct metrics_family *family, int status, const struct str *labels,
                                          unsigned label_count)
{
    struct str values[METRICS_MAX_LABELS];
    char text[16];

    assert(label_count < METRICS_MAX_LABELS);
    memcpy(values, labels, label_count * sizeof(*labels));
    snprintf(text, sizeof(text), "%d", status);
    values[label_count] = str_of(status < 0 ? strerrorname_np(-status) : text);
    return metrics_series(family, values);
}

struct metrics_series *http_status_series(struct http_statuses *statuses, struct metrics_family *family, int status,
                                          const struct str *labels, unsigned label_count)
{
    struct metrics_series *series;

    for (unsigned i = 0; i < statuses->count; i++)
        if (statuses->seen[i].status == status)
            return statuses->seen[i].series;
    series = find_series(family, status, labels, label_count);
    if (series != NULL && statuses->count < sizeof(statuses->seen) / sizeof(statuses->seen[0])) {
        statuses->seen[statuses->count].status = status;
        statuses->seen[statuses->count++].series = series;
    }
    return series;
}
