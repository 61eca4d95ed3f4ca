/* @NAME@ -- @SUMMARY@: gRPC in, @BEHIND@. */
#include "@ID@.descriptors.h"
#include "@ID@.pb-c.h"
@if calls
#include "health.pb-c.h"
#include "rpc_client.h"
@end
@if !store
#include "svc.h"
@end
@if store
#include "svc_store.h"
#include <errno.h>
#include <stdlib.h>
@end
#include <string.h>

#define WORD_MAX 64 /* bytes */
@if store
#define TEXT_MAX 4096
@end
@if calls
#define CALL_TIMEOUT_MS 1000
@end
@if state

struct app {
@if store
    struct store *store;
@end
@if calls
    struct rpc_client *@CALLEE_ID@;
@end
};
@end

static bool is_word(struct rpc_call *call, const char *word)
{
    size_t len = strlen(word);

    if (len >= 1 && len <= WORD_MAX)
        return true;
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "a word has 1 to 64 bytes");
    return false;
}

static void on_say(struct rpc_call *call, const ProtobufCMessage *message)
{
    if (is_word(call, ((const @TYPE@__Word *)message)->word))
        rpc_reply(call, message);
}
@if store

/* ---- words and their texts, in the store ---- */

enum { WORDS, TABLES };

static const struct store_table tables[TABLES] = {[WORDS] = {.name = "words"}};

static void on_written(void *arg, const struct store_result *result)
{
    struct rpc_call *call = arg;
    @TYPE@__Kept kept = @UPPER@__KEPT__INIT;

    kept.sequence = result->seq;
    if (result->err == 0)
        rpc_reply(call, &kept.base);
    else
        rpc_fail(call, result->err, err_text(result->err));
    rpc_call_unref(call);
}

static void on_put(struct rpc_call *call, const ProtobufCMessage *message)
{
    const @TYPE@__Entry *entry = (const @TYPE@__Entry *)message;
    const struct app *app = rpc_call_service_state(call);
    struct store_batch *batch;

    if (!is_word(call, entry->word))
        return;
    if (entry->text.len > TEXT_MAX) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "a text has at most 4096 bytes");
        return;
    }
    batch = store_batch_new();
    store_batch_put(batch, WORDS, str_of(entry->word), (struct str){(const char *)entry->text.data, entry->text.len},
                    STORE_ANY, 0);
    store_write(app->store, batch, rpc_call_deadline_ns(call), on_written, rpc_call_ref(call));
}

struct get {
    struct rpc_call *call;
    char word[WORD_MAX + 1];
};

static void read_word(void *arg, int err, struct store_snapshot *snapshot)
{
    @TYPE@__Entry entry = @UPPER@__ENTRY__INIT;
    struct store_record record;
    struct get *get = arg;

    if (err == 0)
        err = store_get(snapshot, WORDS, str_of(get->word), &record);
    if (err == 0) {
        entry.word = get->word;
        entry.text = (ProtobufCBinaryData){.len = record.value.len, .data = (uint8_t *)record.value.s};
        rpc_reply(get->call, &entry.base);
    } else {
        rpc_fail(get->call, err, err_text(err));
    }
    rpc_call_unref(get->call);
    free(get);
}

static void on_get(struct rpc_call *call, const ProtobufCMessage *message)
{
    const char *word = ((const @TYPE@__Word *)message)->word;
    const struct app *app = rpc_call_service_state(call);
    struct get *get;

    if (!is_word(call, word))
        return;
    get = calloc(1, sizeof(*get));
    if (get == NULL) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    get->call = rpc_call_ref(call);
    memcpy(get->word, word, strlen(word));
    store_read(app->store, rpc_call_deadline_ns(call), 0, read_word, get);
}
@end
@if calls

/* ---- a call of @CALLEE@ ---- */

static void on_health(void *arg, const struct rpc_status *status, const ProtobufCMessage *reply)
{
    @TYPE@__Answer answer = @UPPER@__ANSWER__INIT;
    struct rpc_call *call = arg;

    if (status->code == ERR_GRPC_OK) {
        answer.health = (uint32_t)((const Grpc__Health__V1__HealthCheckResponse *)reply)->status;
        rpc_reply(call, &answer.base);
    } else {
        rpc_finish(call, status->code, status->message);
    }
    rpc_call_unref(call);
}

static void on_ask(struct rpc_call *call, const ProtobufCMessage *message)
{
    Grpc__Health__V1__HealthCheckRequest question = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = CALL_TIMEOUT_MS, .trace = rpc_call_trace(call)};
    const struct app *app = rpc_call_service_state(call);
    int r;

    r = rpc_unary(app->@CALLEE_ID@, &grpc__health__v1__health__descriptor, "Check", &question.base, &options, on_health,
                  rpc_call_ref(call));
    if (r < 0) {
        rpc_fail(call, r, err_text(r));
        rpc_call_unref(call);
    }
}
@end

/* ---- the service ---- */

static const struct rpc_method methods[] = {
    RPC_UNARY(&@ID@__@SERVICE_ID@__descriptor, "Say", on_say),
@if store
    RPC_UNARY(&@ID@__@SERVICE_ID@__descriptor, "Put", on_put),
    RPC_UNARY(&@ID@__@SERVICE_ID@__descriptor, "Get", on_get),
@end
@if calls
    RPC_UNARY(&@ID@__@SERVICE_ID@__descriptor, "Ask", on_ask),
@end
    {0},
};
@if state

static const struct config_option options[] = {
@if store
    SVC_STORE_OPTIONS,
@end
@if calls
    {.name = "@CALLEE_VARIABLE@", .value = CONFIG_REQUIRED, .help = "host:port of @CALLEE@", .check = @CLIENT@_check_target},
@end
    {0},
};
@end
@include state.c

int main(int argc, char **argv)
{
@if state
    struct app app = {0};
@end
    const struct svc_def def = {
        .name = "@NAME@",
        .summary = "@SUMMARY@",
@if state
        .state = &app,
        .options = options,
@end
        .rpc = RPC_SERVICE(methods, @ID@_descriptors),
@if state
        .start = start,
        .stop = stop,
@end
@if store
        .ready = ready,
        .healthy = healthy,
@end
    };

    return svc_main(argc, argv, &def);
}
