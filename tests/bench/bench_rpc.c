/* What the rpc layer costs: unary calls/s, and CPU time a call, of a server made with rpc.h, its log and metrics on,
 * beside a bare C-core server that unpacks the same request and packs the same reply, one thread each, in turn.
 *
 *   bench_rpc [ROUNDS [SECONDS]]       calls both with one client, 64 calls in flight; prints medians and ratios
 *   bench_rpc serve bare|library PORT  just serves routeguide.RouteGuide/GetFeature, until it is ended
 */
#include "bench.h"
#include "clock.h"
#include "net_listen.h"
#include "routeguide.descriptors.h"
#include "routeguide.pb-c.h"
#include "rpc.h"
#include "rpc_client.h"
#include "rpc_client_internal.h"
#include <fcntl.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_FLIGHT  64
#define MAX_ROUNDS 25

static Routeguide__Feature feature_at(const Routeguide__Point *point, Routeguide__Point *ret_location)
{
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;

    routeguide__point__init(ret_location);
    ret_location->latitude = point->latitude;
    ret_location->longitude = point->longitude;
    feature.name = (char *)"Berkshire Valley Management Area Trail, Jefferson, NJ, USA";
    feature.location = ret_location;
    return feature;
}

/* ---- a server made with the library ---- */

static void get_feature(struct rpc_call *call, const ProtobufCMessage *message)
{
    Routeguide__Point location;
    Routeguide__Feature feature = feature_at((const Routeguide__Point *)message, &location);

    rpc_reply(call, &feature.base);
}

static void serve_library(int port)
{
    static const struct rpc_method methods[] = {
        RPC_UNARY(&routeguide__route_guide__descriptor, "GetFeature", get_feature), {0}};
    struct rpc_server_def def = {.methods = methods,
                                 .descriptors = routeguide_descriptors,
                                 .descriptors_len = routeguide_descriptors_len,
                                 .metrics = metrics_new()};
    struct rpc_server *server;
    int fd;

    if (log_open(
            &(struct log_def){
                .fd = open("/dev/null", O_WRONLY), .least = LOG_INFO, .service = "bench", .metrics = def.metrics},
            &def.log) < 0 ||
        net_listen("127.0.0.1", port, &fd, &port) < 0 || rpc_server_open(fd, &def, &server) < 0)
        exit(1);
    rpc_server_set_serving(server, true);
    rpc_server_start(server);
    for (;;)
        pause();
}

/* ---- the same without it ---- */

enum { ARRIVED, CLOSED, RECEIVED, SENT, TAGS };

struct bare_call {
    struct bare_tag {
        struct bare_call *call;
        int what;
    } tags[TAGS];
    int left; /* events to come */
    int cancelled;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *reply;
};

static void bare_expect(grpc_server *server, grpc_completion_queue *queue)
{
    struct bare_call *call = calloc(1, sizeof(*call));

    for (int i = 0; i < TAGS; i++)
        call->tags[i] = (struct bare_tag){call, i};
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    grpc_server_request_call(server, &call->call, &call->details, &call->metadata, queue, queue, &call->tags[ARRIVED]);
}

static void bare_receive(struct bare_call *call)
{
    const grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                            .data.recv_close_on_server.cancelled = &call->cancelled};
    const grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->request};

    call->left = 2;
    grpc_call_start_batch(call->call, &closed, 1, &call->tags[CLOSED], NULL);
    grpc_call_start_batch(call->call, &receive, 1, &call->tags[RECEIVED], NULL);
}

static void bare_answer(struct bare_call *call)
{
    grpc_byte_buffer_reader reader;
    grpc_slice bytes, packed;
    Routeguide__Point *point, location;
    Routeguide__Feature feature;

    grpc_byte_buffer_reader_init(&reader, call->request);
    bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    point = routeguide__point__unpack(NULL, GRPC_SLICE_LENGTH(bytes), GRPC_SLICE_START_PTR(bytes));
    feature = feature_at(point, &location);
    packed = grpc_slice_malloc(routeguide__feature__get_packed_size(&feature));
    routeguide__feature__pack(&feature, GRPC_SLICE_START_PTR(packed));
    call->reply = grpc_raw_byte_buffer_create(&packed, 1);
    grpc_slice_unref(packed);
    grpc_slice_unref(bytes);
    routeguide__point__free_unpacked(point, NULL);

    const grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->reply},
        {.op = GRPC_OP_SEND_STATUS_FROM_SERVER, .data.send_status_from_server.status = GRPC_STATUS_OK},
    };
    call->left++;
    grpc_call_start_batch(call->call, ops, 3, &call->tags[SENT], NULL);
}

static void bare_release(struct bare_call *call)
{
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->reply);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->call);
    free(call);
}

static void bare_event(grpc_server *server, grpc_completion_queue *queue, const struct bare_tag *tag)
{
    struct bare_call *call = tag->call;

    if (tag->what == ARRIVED) {
        bare_expect(server, queue);
        bare_receive(call);
        return;
    }
    if (tag->what == RECEIVED && call->request != NULL)
        bare_answer(call);
    if (--call->left == 0)
        bare_release(call);
}

static void serve_bare(int port)
{
    grpc_completion_queue *queue;
    grpc_server_credentials *credentials;
    grpc_server *server;
    char address[64];

    grpc_init();
    queue = grpc_completion_queue_create_for_next(NULL);
    credentials = grpc_insecure_server_credentials_create();
    server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    if (grpc_server_add_http2_port(server, address, credentials) != port)
        exit(1);
    grpc_server_start(server);
    for (int i = 0; i < 8; i++)
        bare_expect(server, queue);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

        bare_event(server, queue, event.tag);
    }
}

/* ---- measuring ---- */

struct load {
    struct rpc_client *client;
    uint64_t until_ns;
    atomic_int running;
    atomic_uint calls, failed;
};

static void call_on(struct load *load);

static void answered(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    struct load *load = arg;

    atomic_fetch_add(status->code == ERR_GRPC_OK ? &load->calls : &load->failed, 1);
    call_on(load);
}

static void call_on(struct load *load)
{
    Routeguide__Point point = ROUTEGUIDE__POINT__INIT;

    point.latitude = 409146138;
    point.longitude = -746188906;
    if (clock_monotonic_ns() >= load->until_ns ||
        rpc_unary(load->client, &routeguide__route_guide__descriptor, "GetFeature", &point.base,
                  &(struct rpc_call_options){.timeout_ms = 10000, .wait_for_ready = true}, answered, load) != 0)
        atomic_fetch_sub(&load->running, 1);
}

static double resident_mib(pid_t pid)
{
    unsigned long pages = 0;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    if ((file = fopen(path, "r")) != NULL) {
        if (fscanf(file, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

struct result {
    double calls_per_second, cpu_us_per_call;
};

static struct result measure(int port, pid_t server, double seconds)
{
    struct load load = {.until_ns = clock_monotonic_ns() + (uint64_t)(seconds * CLOCK_NS_PER_S)};
    uint64_t begun_ns = clock_monotonic_ns();
    double cpu = bench_cpu_seconds(server), took;
    char target[64];

    snprintf(target, sizeof(target), "127.0.0.1:%d", port);
    if (rpc_client_open(&(struct rpc_client_def){.target = target}, &load.client) != 0)
        exit(1);
    atomic_store(&load.running, IN_FLIGHT);
    for (int i = 0; i < IN_FLIGHT; i++)
        call_on(&load);
    while (atomic_load(&load.running) > 0)
        usleep(10000);
    took = (double)(clock_monotonic_ns() - begun_ns) / CLOCK_NS_PER_S;
    rpc_client_free(load.client);
    if (atomic_load(&load.failed) > 0)
        fprintf(stderr, "%u calls failed\n", atomic_load(&load.failed));
    return (struct result){(double)atomic_load(&load.calls) / took,
                           (bench_cpu_seconds(server) - cpu) * 1e6 / (double)atomic_load(&load.calls)};
}

static void compare_servers(const int ports[2], const pid_t servers[2], int rounds, double seconds)
{
    double rates[2][MAX_ROUNDS], cpus[2][MAX_ROUNDS], rate_ratios[MAX_ROUNDS], cpu_ratios[MAX_ROUNDS];

    for (int library = 0; library < 2; library++) /* warm */
        measure(ports[library], servers[library], 0.2);
    for (int i = 0; i < rounds; i++) {
        for (int library = 0; library < 2; library++) {
            struct result result = measure(ports[library], servers[library], seconds);

            rates[library][i] = result.calls_per_second;
            cpus[library][i] = result.cpu_us_per_call;
        }
        rate_ratios[i] = rates[1][i] / rates[0][i];
        cpu_ratios[i] = cpus[1][i] / cpus[0][i];
    }
    printf("unary calls    bare %7.0f/s     library %7.0f/s     ratio %.2f\n", bench_median(rates[0], rounds),
           bench_median(rates[1], rounds), bench_median(rate_ratios, rounds));
    printf("server's CPU   bare %7.1f us    library %7.1f us    ratio %.2f\n", bench_median(cpus[0], rounds),
           bench_median(cpus[1], rounds), bench_median(cpu_ratios, rounds));
    printf("resident       bare %7.1f MiB   library %7.1f MiB\n", resident_mib(servers[0]), resident_mib(servers[1]));
}

/* C-core does not survive a fork: the servers are programs of their own. */
static pid_t start_server(const char *kind, int *ret_port)
{
    char port[16];
    pid_t pid;
    int fd;

    if (net_listen("127.0.0.1", 0, &fd, ret_port) < 0) /* to find a port that is free */
        exit(1);
    close(fd);
    snprintf(port, sizeof(port), "%d", *ret_port);
    if ((pid = fork()) == 0) {
        execl("/proc/self/exe", "bench_rpc", "serve", kind, port, NULL);
        _exit(1);
    }
    return pid;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5, ports[2];
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    pid_t servers[2];

    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        if (strcmp(argv[2], "library") == 0)
            serve_library(atoi(argv[3]));
        else
            serve_bare(atoi(argv[3]));
        return 1;
    }
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    servers[0] = start_server("bare", &ports[0]);
    servers[1] = start_server("library", &ports[1]);
    compare_servers(ports, servers, rounds, seconds);
    for (int library = 0; library < 2; library++) {
        kill(servers[library], SIGKILL);
        waitpid(servers[library], NULL, 0);
    }
    return 0;
}
