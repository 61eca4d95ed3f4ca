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
    struct geo_point point;
    uint64_t before_seq;
    size_t size, count, bytes;
    struct item *items; /* as many as size */
    Routeguide__Save **messages;
};

static int page_begin(struct page *page)
{
    page->items = calloc(page->size, sizeof(*page->items));
    page->messages = calloc(page->size, sizeof(*page->messages));
    return page->items == NULL || page->messages == NULL ? -ENOMEM : 0;
}

static void page_end(struct page *page)
{
    free(page->items);
    free(page->messages);
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

/* 0, or -errno. */
static int reply_with(struct page *page, struct rpc_call *call, struct store_cursor *index)
{
    Routeguide__ListSavesResponse response = ROUTEGUIDE__LIST_SAVES_RESPONSE__INIT;
    char token[TOKEN_LEN + 1];
    int err = fill(page, index);

    if (err == 0) {
        format_token(page, token);
        response.next_page_token = token;
    }
    if (err == 0 || err == -ENOENT) {
        response.n_saves = page->count;
        response.saves = page->messages;
        routeguide__feature_history__list_saves__reply(call, &response);
    }
    return err == -ENOENT ? 0 : err;
}

static int read_page(void *arg, struct rpc_call *call, struct store_snapshot *snapshot)
{
    struct page *page = arg;
    struct store_cursor index = {0};
    int err = page_begin(page);

    if (err == 0)
        err = saves_cursor_open(snapshot, &index);
    if (err == 0)
        err = reply_with(page, call, &index);
    store_cursor_close(&index);
    page_end(page);
    return err;
}

void feature_store_history(struct rpc_call *call, const Routeguide__ListSavesRequest *request)
{
    const struct feature_store *fs = rpc_call_service_state(call);
    struct page page = {.size = request->page_size > 0 ? (size_t)request->page_size : DEFAULT_PAGE};

    if (!route_point(call, request->location, &page.point))
        return;
    if (request->page_size < 0 || request->page_size > MAX_PAGE)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "page_size must be between 1 and 1000, or 0 for 100");
    else if (parse_token(str_of(request->page_token), page.point, &page.before_seq) < 0)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT,
                   "page_token must be the next_page_token of a page of this location");
    else
        rpc_store_read(call, fs->store, &page, sizeof(page), read_page);
}
