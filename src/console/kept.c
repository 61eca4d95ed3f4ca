#include "kept.h"

static void fill_pair(struct kept_pair *pair, const struct otlp_pair *from, struct intern *strings)
{
    pair->key = intern_get(strings, from->key);
    if (from->kind == OTLP_STRING)
        pair->value.string = intern_get(strings, from->string);
    else if (from->kind == OTLP_DOUBLE)
        pair->value.number = from->number;
    else
        pair->value.integer = from->integer;
}

void kept_fill(struct kept_pairs *pairs, const struct otlp_pairs *from, struct intern *strings)
{
    pairs->count = kept_count(from);
    for (unsigned i = 0; i < pairs->count; i++) {
        pairs->kinds[i] = (uint8_t)from->list[i].kind;
        fill_pair(&pairs->list[i], &from->list[i], strings);
    }
}

void kept_put(struct kept_pairs *pairs, struct intern *strings)
{
    for (unsigned i = 0; i < pairs->count; i++) {
        intern_put(strings, pairs->list[i].key);
        if (pairs->kinds[i] == OTLP_STRING)
            intern_put(strings, pairs->list[i].value.string);
    }
}

/* ---- text ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool kept_text_has(struct str text, struct str part, uint64_t *budget)
{
    for (size_t at = 0; at + part.len <= text.len && *budget > 0; at++) {
        size_t same = 0;

        while (same < part.len && lower(text.s[at + same]) == lower(part.s[same]))
            same++;
        if (same == part.len)
            return true;
        *budget -= *budget > same ? same + 1 : *budget;
    }
    return part.len == 0;
}

bool kept_have_text(const struct kept_pairs *pairs, struct str part, uint64_t *budget)
{
    for (unsigned i = 0; i < pairs->count; i++)
        if (pairs->kinds[i] == OTLP_STRING && kept_text_has(intern_str(pairs->list[i].value.string), part, budget))
            return true;
    return false;
}
