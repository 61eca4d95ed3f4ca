#include "rpc_server_internal.h"
#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#define STEP ((size_t)64 * 1024)

static size_t steps(size_t bytes)
{
    return (bytes + STEP - 1) / STEP * STEP;
}

bool rpc_account_take(struct rpc_account *account, size_t bytes)
{
    if (account->used + bytes > account->granted) {
        size_t more = steps(account->used + bytes - account->granted);

        if (!budget_take(account->budget, more))
            return false;
        account->granted += more;
    }
    account->used += bytes;
    return true;
}

void rpc_account_add(struct rpc_account *account, size_t bytes)
{
    account->used += bytes;
    if (account->used > account->granted) {
        size_t more = steps(account->used - account->granted);

        budget_add(account->budget, more);
        account->granted += more;
    }
}

void rpc_account_give(struct rpc_account *account, size_t bytes)
{
    assert(bytes <= account->used);
    account->used -= bytes;
    if (account->granted - account->used > 4 * STEP) {
        size_t less = (account->granted - account->used - STEP) / STEP * STEP;

        account->granted -= less;
        budget_give(account->budget, less);
    }
}

void rpc_account_close(struct rpc_account *account)
{
    assert(account->used == 0);
    budget_give(account->budget, account->granted);
    account->granted = 0;
}

void *rpc_account_realloc(struct rpc_account *account, void *bytes, size_t from, size_t to)
{
    void *grown;

    if (!rpc_account_take(account, to - from))
        return NULL;
    if ((grown = realloc(bytes, to)) == NULL)
        rpc_account_give(account, to - from);
    return grown;
}

/* ---- for nghttp2: counted is what the C library has taken for a block, so that blocks need no heads ---- */

#define ALIGNMENT _Alignof(max_align_t)

/* The process ends where there is no memory, as with what h2o allocates: nghttp2 1.52 frees an item twice after it
 * could not queue it. */
static void *account_malloc(size_t size, void *account)
{
    void *block = aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);

    if (block == NULL)
        abort();
    rpc_account_add(account, malloc_usable_size(block));
    return block;
}

static void *account_calloc(size_t count, size_t size, void *account)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : memset(account_malloc(bytes, account), 0, bytes);
}

static void account_free(void *block, void *account)
{
    rpc_account_give(account, malloc_usable_size(block));
    free(block);
}

static void *account_realloc(void *block, size_t size, void *account)
{
    void *grown = account_malloc(size, account);
    size_t had = malloc_usable_size(block);

    if (block != NULL)
        memcpy(grown, block, had < size ? had : size);
    account_free(block, account);
    return grown;
}

nghttp2_mem rpc_account_mem(struct rpc_account *account)
{
    return (nghttp2_mem){account, account_malloc, account_free, account_calloc, account_realloc};
}
