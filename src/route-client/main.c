/* route-client -- checks a route guide by making the five calls of a run, or puts load on it. */
#include "clock.h"
#include "load.h"
#include "report.h"
#include <errno.h>
#include <getopt.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXIT_RIGHT, EXIT_WRONG, EXIT_USAGE };

#define MAX_CONCURRENCY 10000
#define MAX_SECONDS     (7 * 24 * 3600)

static const char usage[] =
    "Usage: route-client [OPTION...]\n"
    "Makes five calls of a route guide and checks the answers: GetFeature of a place that it should know and of one\n"
    "where nothing is, ListFeatures, RecordRoute of random points, RouteChat. Or makes many of them, and says how "
    "long\n"
    "they took.\n"
    "\n"
    "  --server HOST:PORT      the server (127.0.0.1:8888)\n"
    "  --timeout SECONDS       how long a call may take (10)\n"
    "  --retry                 repeat calls that fail with UNAVAILABLE, where that does no harm\n"
    "\n"
    "Load; each of these prints a summary instead of the answers:\n"
    "  --repeat N              make all calls N times (1, or without end with --duration)\n"
    "  --duration SECONDS      stop after that time\n"
    "  --concurrency N         so many calls at the same time (1; up to 10000)\n"
    "  --method METHOD         only GetFeature, ListFeatures, RecordRoute, RouteChat or SaveFeature\n"
    "  --json                  the summary as JSON\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0: every answer was right; 1: a call failed or an answer was wrong; 2: wrong options.\n";

struct options {
    const char *server;
    uint64_t timeout_s, repeat, duration_s, concurrency;
    bool retry, load, json;
    enum calls_kind kinds[CALLS_KINDS];
    size_t kind_count;
};

/* ---- options ---- */

static int complain(const char *option, const char *value, const char *allowed)
{
    fprintf(stderr, "route-client: --%s: \"%s\" is not %s\n", option, value, allowed);
    return -EINVAL;
}

static int parse_number(const char *option, const char *value, uint64_t max, uint64_t *ret_number)
{
    char allowed[64];
    uint64_t number;

    if (str_to_u64(str_of(value), max, &number) == 0 && number > 0) {
        *ret_number = number;
        return 0;
    }
    snprintf(allowed, sizeof(allowed), "a number from 1 to %llu", (unsigned long long)max);
    return complain(option, value, allowed);
}

static int parse_method(const char *value, struct options *options)
{
    options->kind_count = 0;
    for (int kind = 0; kind < CALLS_KINDS; kind++)
        if (strcmp(value, calls_methods[kind]) == 0)
            options->kinds[options->kind_count++] = (enum calls_kind)kind;
    return options->kind_count > 0 ? 0 : complain("method", value, "a method of a route guide");
}

static void set_defaults(struct options *options)
{
    *options = (struct options){.server = "127.0.0.1:8888", .timeout_s = 10, .concurrency = 1};
    for (int kind = 0; kind < CALLS_OF_A_RUN; kind++)
        options->kinds[options->kind_count++] = (enum calls_kind)kind;
}

static int parse_option(int option, const char *name, struct options *options)
{
    options->load |= strchr("RDCMJ", option) != NULL;
    switch (option) {
    case 'S':
        options->server = optarg;
        return 0;
    case 'T':
        return parse_number(name, optarg, MAX_SECONDS, &options->timeout_s);
    case 'Y':
        options->retry = true;
        return 0;
    case 'R':
        return parse_number(name, optarg, UINT64_MAX / CALLS_KINDS, &options->repeat);
    case 'D':
        return parse_number(name, optarg, MAX_SECONDS, &options->duration_s);
    case 'C':
        return parse_number(name, optarg, MAX_CONCURRENCY, &options->concurrency);
    case 'M':
        return parse_method(optarg, options);
    case 'J':
        options->json = true;
        return 0;
    default:
        return -EINVAL; /* getopt has said why */
    }
}

/* 0, or -1 where the program is to end with *ret_status. */
static int parse_options(int argc, char **argv, struct options *options, int *ret_status)
{
    static const struct option table[] = {
        {"server", required_argument, NULL, 'S'},
        {"timeout", required_argument, NULL, 'T'},
        {"retry", no_argument, NULL, 'Y'},
        {"repeat", required_argument, NULL, 'R'},
        {"duration", required_argument, NULL, 'D'},
        {"concurrency", required_argument, NULL, 'C'},
        {"method", required_argument, NULL, 'M'},
        {"json", no_argument, NULL, 'J'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    int option, index = 0;

    set_defaults(options);
    *ret_status = EXIT_RIGHT;
    while ((option = getopt_long(argc, argv, "", table, &index)) != -1) {
        if (option == 'h' || option == 'v') {
            fputs(option == 'h' ? usage : "route-client " SLIPWAY_VERSION "\n", stdout);
            return -1;
        }
        *ret_status = EXIT_USAGE;
        if (parse_option(option, table[index].name, options) < 0)
            return -1;
    }
    if (optind < argc) {
        fprintf(stderr, "route-client: unexpected argument: %s\n", argv[optind]);
        *ret_status = EXIT_USAGE;
        return -1;
    }
    if (options->repeat == 0 && options->duration_s == 0)
        options->repeat = 1;
    return 0;
}

/* ---- one run, call by call ---- */

struct answer {
    sem_t came;
    struct calls_outcome outcome;
};

static void on_answer(void *arg, const struct calls_outcome *outcome)
{
    struct answer *answer = arg;

    answer->outcome = *outcome;
    sem_post(&answer->came);
}

static bool check(enum calls_kind kind, const struct calls_options *options)
{
    uint64_t begun_ns = clock_monotonic_ns();
    struct answer answer = {0};
    int r;

    sem_init(&answer.came, 0, 0);
    r = calls_start(kind, options, on_answer, &answer);
    if (r < 0) {
        answer.outcome.code = err_grpc_status(r);
        snprintf(answer.outcome.text, sizeof(answer.outcome.text), "%s", err_text(r));
    } else {
        while (sem_wait(&answer.came) < 0)
            ; /* EINTR */
    }
    sem_destroy(&answer.came);
    printf("%-13s %s%s (%.1f ms)\n", calls_methods[kind], calls_failed(&answer.outcome) ? "FAILED: " : "",
           answer.outcome.text, (double)(clock_monotonic_ns() - begun_ns) / CLOCK_NS_PER_MS);
    return !calls_failed(&answer.outcome);
}

static int check_all(const struct options *options, const struct calls_options *calls)
{
    int wrong = 0;

    for (size_t i = 0; i < options->kind_count; i++)
        wrong += !check(options->kinds[i], calls);
    if (wrong > 0)
        printf("%d of %zu calls failed\n", wrong, options->kind_count);
    else
        printf("all answers are right\n");
    return wrong > 0 ? EXIT_WRONG : EXIT_RIGHT;
}

/* ---- load ---- */

static int put_load(const struct options *options, const struct calls_options *calls)
{
    const struct load_options load = {
        .calls = *calls,
        .kinds = options->kinds,
        .kind_count = options->kind_count,
        .concurrency = (unsigned)options->concurrency,
        .limit = options->repeat * options->kind_count,
        .duration_ns = options->duration_s * CLOCK_NS_PER_S,
        .progress = isatty(STDERR_FILENO),
    };
    struct load_result *result = calloc(1, sizeof(*result));
    int r = result ? load_run(&load, result) : -ENOMEM;

    if (r == 0 && options->json)
        r = report_json(result, options->server, stdout);
    else if (r == 0)
        report_text(result, stdout);
    if (r < 0)
        fprintf(stderr, "route-client: %s\n", err_text(r));
    else if (report_failed(result) > 0)
        r = -EIO;
    free(result);
    return r < 0 ? EXIT_WRONG : EXIT_RIGHT;
}

/* load.h: before the client's threads are made. */
static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int run(const struct options *options)
{
    const struct rpc_client_def def = {
        .name = "route-guide",
        .target = options->server,
        .max_in_flight = MAX_CONCURRENCY,
        .retry_idempotent = options->retry,
        .idempotent_methods = calls_idempotent,
    };
    struct calls_options calls = {.timeout_ms = options->timeout_s * 1000};
    int status, r;

    if (options->load)
        block_signals();
    r = rpc_client_open(&def, &calls.client);
    if (r < 0) {
        fprintf(stderr, "route-client: --server: \"%s\": %s\n", options->server, err_text(r));
        return r == -EINVAL ? EXIT_USAGE : EXIT_WRONG;
    }
    status = options->load ? put_load(options, &calls) : check_all(options, &calls);
    rpc_client_free(calls.client);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    int status;

    if (parse_options(argc, argv, &options, &status) < 0)
        return status;
    status = run(&options);
    if (fflush(stdout) == 0)
        return status;
    perror("route-client");
    return EXIT_WRONG;
}
