/* A client of a server that speaks TLS: one of C-core's own, with a certificate made for the test. */
#include "certificate.h"
#include "rpc_client.h"
#include "rpc_client_internal.h"
#include "rpc_fixture.h"
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <sys/stat.h>

static char folder[] = "/tmp/test_rpc_tls.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[64];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_pair(const char *certificate_name, const char *key_name)
{
    char certificate[64];

    strcpy(certificate, path_of(certificate_name));
    certificate_write(certificate, path_of(key_name));
}

static char *read_text(const char *name)
{
    char *text = calloc(1, 8192);
    FILE *file = fopen(path_of(name), "r");

    cr_assert_gt(fread(text, 1, 8191, file), 0);
    fclose(file);
    return text;
}

/* ---- the server: takes one call ---- */

struct tls_server {
    grpc_completion_queue *queue;
    grpc_server *server;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    int port;
};

static void tls_server_open(struct tls_server *server)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = read_text("key"), .cert_chain = read_text("certificate")};
    grpc_server_credentials *credentials =
        grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);

    server->queue = grpc_completion_queue_create_for_next(NULL);
    server->server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server->server, server->queue, NULL);
    server->port = grpc_server_add_http2_port(server->server, "localhost:0", credentials);
    cr_assert_gt(server->port, 0);
    grpc_server_credentials_release(credentials);
    free((char *)pair.private_key);
    free((char *)pair.cert_chain);
    grpc_server_start(server->server);
    grpc_call_details_init(&server->details);
    grpc_metadata_array_init(&server->metadata);
    grpc_server_request_call(server->server, &server->call, &server->details, &server->metadata, server->queue,
                             server->queue, &server->call);
}

/* True when a call has come, false when waited_for has been answered first. */
static bool tls_server_is_called(struct tls_server *server, struct fixture_answer *waited_for)
{
    for (;;) {
        gpr_timespec soon = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(20, GPR_TIMESPAN));
        grpc_event event = grpc_completion_queue_next(server->queue, soon, NULL);

        if (event.type == GRPC_OP_COMPLETE)
            return true;
        if (sem_trywait(&waited_for->done) == 0) {
            sem_post(&waited_for->done);
            return false;
        }
    }
}

static void tls_server_close(struct tls_server *server)
{
    if (server->call != NULL)
        grpc_call_unref(server->call);
    grpc_server_shutdown_and_notify(server->server, server->queue, server);
    grpc_server_cancel_all_calls(server->server);
    while (grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).tag != server)
        ;
    grpc_server_destroy(server->server);
    grpc_completion_queue_shutdown(server->queue);
    while (grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(server->queue);
    grpc_call_details_destroy(&server->details);
    grpc_metadata_array_destroy(&server->metadata);
}

/* ---- tests ---- */

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    write_pair("certificate", "key");
    write_pair("other-certificate", "other-key");
    grpc_init();
}

static void remove_folder(void)
{
    const char *const names[] = {"certificate", "key", "other-certificate", "other-key"};

    grpc_shutdown();
    for (size_t i = 0; i < 4; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
}

TestSuite(rpc_tls, .init = make_folder, .fini = remove_folder, .timeout = 120);

static bool reaches_server(const char *ca)
{
    struct tls_server server = {0};
    struct fixture client = {0};
    struct fixture_answer answer;
    char target[64];
    bool called;

    tls_server_open(&server);
    snprintf(target, sizeof(target), "localhost:%d", server.port);
    fixture_connect(&client,
                    (struct rpc_client_def){.target = target, .tls = &(const struct rpc_tls){.ca = path_of(ca)}});
    cr_assert_eq(fixture_begin(&client, 100, 0, &(struct rpc_call_options){.timeout_ms = 60000}, &answer), 0);
    called = tls_server_is_called(&server, &answer);
    client.client = rpc_client_free(client.client);
    tls_server_close(&server);
    return called;
}

Test(rpc_tls, reaches_a_server_that_it_trusts)
{
    cr_assert(reaches_server("certificate"));
}

Test(rpc_tls, refuses_a_server_of_another_authority)
{
    cr_assert(!reaches_server("other-certificate"));
}

static int open_with(struct rpc_tls tls)
{
    struct rpc_client *client = NULL;
    int err = rpc_client_open(&(struct rpc_client_def){.target = "localhost:1", .tls = &tls}, &client);

    rpc_client_free(client);
    return err;
}

Test(rpc_tls, says_what_is_wrong_with_its_files)
{
    char certificate[64], key[64];

    strcpy(certificate, path_of("certificate"));
    strcpy(key, path_of("key"));
    cr_assert_eq(open_with((struct rpc_tls){.ca = certificate, .certificate = certificate, .key = key}), 0);
    cr_assert_eq(open_with((struct rpc_tls){.ca = "/nowhere"}), -ENOENT);
    cr_assert_eq(open_with((struct rpc_tls){.ca = "/proc/self/cmdline"}), -EINVAL);
    cr_assert_eq(open_with((struct rpc_tls){.ca = certificate, .key = key}), -EINVAL);
    cr_assert_eq(open_with((struct rpc_tls){.ca = certificate, .certificate = "/nowhere", .key = key}), -ENOENT);
}

/* A process that exits while C-core still works crashes now and then. */
Test(rpc_tls, ends_c_core_with_the_last_client)
{
    grpc_shutdown(); /* the use that make_folder took */
    for (int i = 0; i < 20; i++) {
        struct fixture client = {0};

        fixture_connect(&client, (struct rpc_client_def){.target = "localhost:1",
                                                         .tls = &(const struct rpc_tls){.ca = path_of("certificate")}});
        fixture_call(&client, 100, 0, (struct rpc_call_options){.timeout_ms = 60000});
        client.client = rpc_client_free(client.client);
        cr_assert(!grpc_is_initialized());
    }
    grpc_init();
}
