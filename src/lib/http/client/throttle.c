/* Retry throttling, as gRPC's (proposal A6): a call that breaks takes a token, one that is answered gives a tenth back,
 * and none is repeated while half of them or more are gone. Else a peer in trouble would get twice the calls. */
#include "http_client_internal.h"

static void change_tokens(struct http_client *client, int by)
{
    int tokens = atomic_load_explicit(&client->tokens, memory_order_relaxed), changed;

    do {
        changed = tokens + by < 0 ? 0 : tokens + by > CLIENT_MAX_TOKENS ? CLIENT_MAX_TOKENS : tokens + by;
        if (changed == tokens)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&client->tokens, &tokens, changed, memory_order_relaxed,
                                                    memory_order_relaxed));
}

void client_throttle_broken(struct http_client *client)
{
    change_tokens(client, -CLIENT_TOKEN);
}

void client_throttle_answered(struct http_client *client)
{
    change_tokens(client, 1);
}

bool client_throttle_allows(const struct http_client *client)
{
    return atomic_load_explicit(&client->tokens, memory_order_relaxed) > CLIENT_MAX_TOKENS / 2;
}
