/* upkeep -- tells Prometheus about what keeps etcd in order: when jobs last began and succeeded (they record it by
 * store-tool, in the store at STORE_URL), and when certificates end. It has no listener but the admin one. */
#include "jobs.h"
#include "svc_store.h"
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#define MAX_PATH 256 /* bytes of a certificate's path, with the NUL */

struct upkeep {
    struct store *store;
    struct metrics *metrics;
    const char *certificates;
    struct metrics_family *times[2]; /* by enum jobs_event */
    struct metrics_family *ends;
};

/* A path that does not fit would have no metric, and its alert could never fire. */
static const char *check_paths(const char *paths)
{
    static_assert(MAX_PATH == 256, "the text says so");
    for (const char *rest = paths; *rest != '\0'; rest += strcspn(rest, ","), rest += *rest == ',')
        if (strcspn(rest, ",") >= MAX_PATH)
            return "a path is longer than 255 bytes";
    return NULL;
}

static const struct config_option options[] = {
    SVC_STORE_OPTIONS,
    {.name = "CERTIFICATES",
     .value = "",
     .help = "PEM files, separated by commas, whose expiry is reported",
     .check = check_paths},
    {0},
};

static const struct metrics_def times[] = {
    [JOBS_BEGUN] = {"cronjob_begun_timestamp_seconds", "When a job last began.", METRICS_GAUGE, {"cronjob"}},
    [JOBS_SUCCEEDED] = {"cronjob_succeeded_timestamp_seconds",
                        "When a job last succeeded.",
                        METRICS_GAUGE,
                        {"cronjob"}},
};

static const struct metrics_def ends = {"certificate_not_after_timestamp_seconds",
                                        "When a certificate ends; 0: it cannot be read.",
                                        METRICS_GAUGE,
                                        {"file"}};

/* ---- at every scrape ---- */

static void set_time(void *arg, struct str job, enum jobs_event event, uint64_t unix_seconds)
{
    const struct upkeep *upkeep = arg;

    metrics_set(metrics_series(upkeep->times[event], &job), (double)unix_seconds);
}

/* 0 where there is no certificate: that, too, is seen to have ended. */
static double end_of(const char *path)
{
    FILE *file = fopen(path, "re");
    X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    struct tm tm = {0};
    double end = 0;

    if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1)
        end = (double)timegm(&tm);
    X509_free(certificate);
    if (file != NULL)
        fclose(file);
    return end;
}

static void set_ends(const struct upkeep *upkeep)
{
    const char *rest = upkeep->certificates;
    char path[MAX_PATH];

    while (*rest != '\0') {
        size_t len = strcspn(rest, ",");

        if (len > 0 && len < sizeof(path)) {
            struct str name = {rest, len};

            snprintf(path, sizeof(path), "%.*s", (int)len, rest);
            metrics_set(metrics_series(upkeep->ends, &name), end_of(path));
        }
        rest += len + (rest[len] == ',');
    }
}

static void scrape(void *arg)
{
    struct upkeep *upkeep = arg;

    /* What cannot be read keeps its last value, which alerts when it is too old; the store has metrics of its own. */
    jobs_visit(upkeep->store, set_time, upkeep);
    set_ends(upkeep);
}

/* ---- wiring ---- */

static int start(struct svc *svc, void *state)
{
    struct metrics *metrics = svc_metrics(svc);
    struct upkeep *upkeep = state;
    int err;

    upkeep->certificates = config_string(svc_config(svc), "CERTIFICATES");
    err = svc_store_open(svc, &jobs_table, 1, &upkeep->store);
    if (err < 0)
        return err;
    for (unsigned event = 0; event < sizeof(times) / sizeof(times[0]); event++)
        upkeep->times[event] = metrics_family(metrics, &times[event]);
    upkeep->ends = metrics_family(metrics, &ends);
    upkeep->metrics = metrics;
    metrics_on_scrape(metrics, scrape, upkeep);
    return 0;
}

static void stop(void *state)
{
    struct upkeep *upkeep = state;

    if (upkeep->metrics != NULL)
        metrics_off_scrape(upkeep->metrics, scrape, upkeep);
    upkeep->store = store_close(upkeep->store);
}

static bool healthy(void *state)
{
    const struct upkeep *upkeep = state;

    return upkeep->store == NULL || store_health(upkeep->store) == 0;
}

int main(int argc, char **argv)
{
    struct upkeep upkeep = {.store = NULL};

    return svc_main(argc, argv,
                    &(struct svc_def){.name = "upkeep",
                                      .summary = "reports jobs and certificates to Prometheus",
                                      .state = &upkeep,
                                      .options = options,
                                      .start = start,
                                      .stop = stop,
                                      .ready = healthy,
                                      .healthy = healthy});
}
