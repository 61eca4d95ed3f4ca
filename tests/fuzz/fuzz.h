/* fuzz -- what the fuzzers share. fuzz_X.c fuzzes X: it gives the bytes of an input to the real code and asserts what
 * must hold for whatever came. With the build option `fuzz` it is a program of libFuzzer, otherwise one that replays
 * corpus/X (replay.c). X.dict has words that are unlikely to be found by chance. One thread.
 */
#pragma once
#include "buf.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* always 0 */

/* What does not hold ends the process; libFuzzer then keeps the input. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What is left of an input. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* 0 at the end. */
static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

/* Up to the next separator, which is skipped, or to the end. */
static inline struct str fuzz_until(struct fuzz_input *input, char separator)
{
    const uint8_t *end = input->left > 0 ? memchr(input->at, separator, input->left) : NULL;
    struct str text = {(const char *)input->at, end != NULL ? (size_t)(end - input->at) : input->left};
    size_t used = end != NULL ? text.len + 1 : text.len;

    input->at += used;
    input->left -= used;
    return text;
}

static inline struct str fuzz_rest(const struct fuzz_input *input)
{
    return (struct str){(const char *)input->at, input->left};
}

/* Memory of one input. Each piece is an allocation of its own, so that ASan sees a read or write beyond it. */
struct fuzz_memory {
    struct fuzz_piece {
        struct fuzz_piece *next;
        void *bytes;
    } * pieces;
};

static inline void *fuzz_alloc(struct fuzz_memory *memory, size_t len)
{
    struct fuzz_piece *piece = malloc(sizeof(*piece));

    MUST(piece != NULL && (piece->bytes = malloc(len)) != NULL);
    piece->next = memory->pieces;
    memory->pieces = piece;
    return piece->bytes;
}

static inline struct str fuzz_copy(struct fuzz_memory *memory, struct str text)
{
    char *bytes = fuzz_alloc(memory, text.len);

    if (text.len > 0)
        memcpy(bytes, text.s, text.len);
    return (struct str){bytes, text.len};
}

/* Up to its first NUL. */
static inline char *fuzz_cstr(struct fuzz_memory *memory, struct str text)
{
    size_t len = text.len > 0 ? strnlen(text.s, text.len) : 0;
    char *copy = fuzz_alloc(memory, len + 1);

    if (len > 0)
        memcpy(copy, text.s, len);
    copy[len] = '\0';
    return copy;
}

static inline void fuzz_release(struct fuzz_memory *memory)
{
    struct fuzz_piece *piece;

    while ((piece = memory->pieces) != NULL) {
        memory->pieces = piece->next;
        free(piece->bytes);
        free(piece);
    }
}
