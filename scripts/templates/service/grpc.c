/* @NAME@ -- @SUMMARY@ over gRPC@USES@. */
#include "@ID@.descriptors.h"
#include "@ID@.rpc_server.h"
@if calls
#include "health.rpc_client.h"
#include "rpc_client.h"
@end
@if !store
#include "svc.h"
@end
@if store
#include "rpc_store.h"
#include "svc_store.h"
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

static void on_say(struct rpc_call *call, const @TYPE@__Word *message)
{
    if (is_word(call, message->word))
        @ID@__@SERVICE_ID@__say__reply(call, message);
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
        @ID@__@SERVICE_ID@__put__reply(call, &kept);
    else
        rpc_fail(call, result->err, err_text(result->err));
    rpc_call_unref(call);
}

static void on_put(struct rpc_call *call, const @TYPE@__Entry *entry)
{
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
    char word[WORD_MAX + 1];
};

static int read_word(void *arg, struct rpc_call *call, struct store_snapshot *snapshot)
{
    @TYPE@__Entry entry = @UPPER@__ENTRY__INIT;
    struct store_record record;
    struct get *get = arg;
    int err = store_get(snapshot, WORDS, str_of(get->word), &record);

    if (err < 0)
        return err;
    entry.word = get->word;
    entry.text = (ProtobufCBinaryData){.len = record.value.len, .data = (uint8_t *)record.value.s};
    @ID@__@SERVICE_ID@__get__reply(call, &entry);
    return 0;
}

static void on_get(struct rpc_call *call, const @TYPE@__Word *message)
{
    const struct app *app = rpc_call_service_state(call);
    struct get get = {.word = ""};

    if (!is_word(call, message->word))
        return;
    memcpy(get.word, message->word, strlen(message->word));
    rpc_store_read(call, app->store, &get, sizeof(get), read_word);
}
@end
@if calls

/* ---- a call of @CALLEE@ ---- */

static void on_health(void *arg, const struct rpc_status *status, const Grpc__Health__V1__HealthCheckResponse *reply)
{
    @TYPE@__Answer answer = @UPPER@__ANSWER__INIT;
    struct rpc_call *call = arg;

    if (status->code == ERR_GRPC_OK) {
        answer.health = (uint32_t)reply->status;
        @ID@__@SERVICE_ID@__ask__reply(call, &answer);
    } else {
        rpc_finish(call, status->code, status->message);
    }
    rpc_call_unref(call);
}

static void on_ask(struct rpc_call *call, const @TYPE@__Question *message)
{
    Grpc__Health__V1__HealthCheckRequest question = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_ms = CALL_TIMEOUT_MS, .trace = rpc_call_trace(call)};
    const struct app *app = rpc_call_service_state(call);
    int r;

    r = grpc__health__v1__health__check__call(app->@CALLEE_ID@, &question, &options, on_health, rpc_call_ref(call));
    if (r < 0) {
        rpc_fail(call, r, err_text(r));
        rpc_call_unref(call);
    }
}
@end

/* ---- the service ---- */

static const struct rpc_method methods[] = {
    @UPPER@__@SERVICE_UPPER@__SAY(on_say),
@if store
    @UPPER@__@SERVICE_UPPER@__PUT(on_put),
    @UPPER@__@SERVICE_UPPER@__GET(on_get),
@end
@if calls
    @UPPER@__@SERVICE_UPPER@__ASK(on_ask),
@end
    {0},
};
@include life.c
