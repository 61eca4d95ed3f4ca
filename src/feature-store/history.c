/* FeatureHistory.ListSaves: what was saved at a point, newest first, a page at a time. A page's token names the last
 * save on it: point and seq, in hexadecimal. So pages neither repeat nor skip a save, whatever is saved in between. */
#include "feature_store.h"
#include "hex.h"
#include "zorder.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_PAGE   100
#define MAX_PAGE       1000
#define MAX_PAGE_BYTES (256 * 1024) /* of names: a page that is full of long ones ends early */
#define TOKEN_LEN      32

struct item {
    Routeguide__Save message;
    char id[UUID_TEXT_LEN + 1];
};

struct page {
    struct feature_store *fs;
    struct rpc_call *call;
    struct geo_point point;
    uint64_t before_seq;
    size_t size, count, bytes;
    Routeguide__Save **messages;
    struct item items[];
};

static struct page *page_new(size_t size)
{
    struct page *page = calloc(1, sizeof(*page) + size * sizeof(page->items[0]));

    if (!page)
        return NULL;
    page->size = size;
    page->messages = calloc(size, sizeof(Routeguide__Save *));
    if (!page->messages) {
        free(page);
        return NULL;
    }
    return page;
}

static void page_free(struct page *page)
{
    feature_store_leave(page->fs);
    rpc_call_unref(page->call);
    free(page->messages);
    free(page);
}

static void format_token(const struct page *page, char token[TOKEN_LEN + 1])
{
    snprintf(token, TOKEN_LEN + 1, "%016llx%016llx", (unsigned long long)zorder_of(page->point),
             (unsigned long long)page->items[page->count - 1].message.sequence);
}

/* The seq before which a page begins. -EINVAL for what is no token of this point's. */
static int parse_token(struct str token, struct geo_point point, uint64_t *ret_before_seq)
{
    uint64_t z, seq;

    if (token.len == 0) {
        *ret_before_seq = UINT64_MAX;
        return 0;
    }
    if (token.len != TOKEN_LEN || !hex_read_u64_lower(token.s, &z) ||
        !hex_read_u64_lower(token.s + TOKEN_LEN / 2, &seq))
        return -EINVAL;
    if (z != zorder_of(point))
        return -EINVAL;
    *ret_before_seq = seq;
    return 0;
}

static void add_save(struct page *page, const struct save *save)
{
    struct item *item = &page->items[page->count];

    routeguide__save__init(&item->message);
    uuid_format(&save->id, item->id);
    item->message.id = item->id;
    item->message.name = (char *)save->name;
    item->message.sequence = save->seq;
    page->messages[page->count++] = &item->message;
    page->bytes += strlen(save->name);
    page->before_seq = save->seq;
}

/* 0: there are more; -ENOENT: there are none; or an error. */
static int fill(struct page *page, struct store_cursor *index)
{
    struct save save;
    int r;

    for (;;) {
        r = saves_newest(index, page->point, page->before_seq, &save);
        if (r < 0 || page->count == page->size || page->bytes >= MAX_PAGE_BYTES)
            return r;
        add_save(page, &save);
    }
}

static void on_read(void *arg, int err, struct store_snapshot *snapshot)
{
    Routeguide__ListSavesResponse response = ROUTEGUIDE__LIST_SAVES_RESPONSE__INIT;
    struct page *page = arg;
    struct store_cursor index = {0};
    char token[TOKEN_LEN + 1];

    if (err == 0) {
        feature_store_tell_age(page->call, snapshot);
        err = saves_cursor_open(snapshot, &index);
    }
    if (err == 0)
        err = fill(page, &index);
    if (err == 0) {
        format_token(page, token);
        response.next_page_token = token;
    }
    if (err == 0 || err == -ENOENT) {
        response.n_saves = page->count;
        response.saves = page->messages;
        rpc_reply(page->call, &response.base);
    } else {
        rpc_fail(page->call, err, feature_store_error(err));
    }
    store_cursor_close(&index);
    page_free(page);
}

void feature_store_history(struct rpc_call *call, const ProtobufCMessage *message)
{
    const Routeguide__ListSavesRequest *request = (const Routeguide__ListSavesRequest *)message;
    uint64_t stale_ms, before_seq;
    struct geo_point point;
    struct page *page;
    int r = feature_store_max_stale(call, &stale_ms);

    if (r < 0) {
        rpc_fail(call, r, feature_store_error(r));
        return;
    }
    if (!route_point(call, request->location, &point))
        return;
    if (request->page_size < 0 || request->page_size > MAX_PAGE) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "page_size must be between 1 and 1000, or 0 for 100");
        return;
    }
    if (parse_token(str_of(request->page_token), point, &before_seq) < 0) {
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT,
                   "page_token must be the next_page_token of a page of this location");
        return;
    }
    page = page_new(request->page_size > 0 ? (size_t)request->page_size : DEFAULT_PAGE);
    if (!page) {
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
        return;
    }
    page->fs = feature_store_enter(call);
    page->call = rpc_call_ref(call);
    page->point = point;
    page->before_seq = before_seq;
    store_read(page->fs->store, rpc_call_deadline_ns(call), stale_ms, on_read, page);
}
