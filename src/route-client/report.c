#include "report.h"
#include "clock.h"
#include <errno.h>
#include <jansson.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};

#define PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

uint64_t report_failed(const struct load_result *result)
{
    uint64_t failed = 0;

    for (int kind = 0; kind < CALLS_KINDS; kind++)
        failed += result->by_kind[kind].failed;
    return failed;
}

static double latency_ms(const struct load_stats *stats, double percent)
{
    return (double)histogram_percentile(&stats->latency_ns, percent) / CLOCK_NS_PER_MS;
}

static double seconds(const struct load_result *result)
{
    return (double)result->elapsed_ns / CLOCK_NS_PER_S;
}

/* ---- text ---- */

static void print_row(const struct load_result *result, int kind, FILE *out)
{
    const struct load_stats *stats = &result->by_kind[kind];

    fprintf(out, "%-13s %10llu %8llu %10.0f", calls_methods[kind], (unsigned long long)stats->calls,
            (unsigned long long)stats->failed, (double)stats->calls / seconds(result));
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, " %8.2f", latency_ms(stats, percentiles[i].percent));
    fputc('\n', out);
}

static void print_failures(const struct load_result *result, int kind, FILE *out)
{
    const struct load_stats *stats = &result->by_kind[kind];

    for (int code = 1; code < LOAD_STATUSES; code++)
        if (stats->statuses[code] > 0)
            fprintf(out, "%s: %llu %s\n", calls_methods[kind], (unsigned long long)stats->statuses[code],
                    err_grpc_name(code));
    if (stats->wrong > 0)
        fprintf(out, "%s: %llu wrong answers\n", calls_methods[kind], (unsigned long long)stats->wrong);
}

void report_text(const struct load_result *result, FILE *out)
{
    fprintf(out, "%-13s %10s %8s %10s", "", "calls", "failed", "calls/s");
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, " %8s", percentiles[i].name);
    fputs("  (ms)\n", out);
    for (int kind = 0; kind < CALLS_KINDS; kind++)
        if (result->by_kind[kind].calls > 0)
            print_row(result, kind, out);
    for (int kind = 0; kind < CALLS_KINDS; kind++)
        print_failures(result, kind, out);
    if (report_failed(result) > 0)
        fprintf(out, "first failure: %s: %s\n", calls_methods[result->first_failed_kind], result->first_failure.text);
}

/* ---- JSON ---- */

/* jansson's setters fail where they are given NULL, and json_dumpf with them. */
static json_t *json_statuses(const struct load_stats *stats)
{
    json_t *statuses = json_object();

    for (int code = 0; code < LOAD_STATUSES; code++)
        if (stats->statuses[code] > 0)
            json_object_set_new(statuses, err_grpc_name(code), json_integer((json_int_t)stats->statuses[code]));
    return statuses;
}

static json_t *json_latency(const struct load_stats *stats)
{
    json_t *latency = json_object();

    for (size_t i = 0; i < PERCENTILES; i++)
        json_object_set_new(latency, percentiles[i].name, json_real(latency_ms(stats, percentiles[i].percent)));
    return latency;
}

static json_t *json_stats(const struct load_stats *stats)
{
    return json_pack("{s:I,s:I,s:I,s:o,s:o}", "calls", (json_int_t)stats->calls, "failed", (json_int_t)stats->failed,
                     "wrong", (json_int_t)stats->wrong, "statuses", json_statuses(stats), "latency_ms",
                     json_latency(stats));
}

int report_json(const struct load_result *result, const char *server, FILE *out)
{
    json_t *methods = json_object(), *root;
    int r;

    for (int kind = 0; kind < CALLS_KINDS; kind++)
        if (result->by_kind[kind].calls > 0)
            json_object_set_new(methods, calls_methods[kind], json_stats(&result->by_kind[kind]));
    root = json_pack("{s:s,s:f,s:I,s:o}", "server", server, "seconds", seconds(result), "failed",
                     (json_int_t)report_failed(result), "methods", methods);
    if (root && report_failed(result) > 0)
        json_object_set_new(root, "first_failure", json_string(result->first_failure.text));
    r = root ? json_dumpf(root, out, JSON_COMPACT | JSON_REAL_PRECISION(6)) : -1;
    fputc('\n', out);
    json_decref(root);
    return r < 0 ? -ENOMEM : 0;
}
