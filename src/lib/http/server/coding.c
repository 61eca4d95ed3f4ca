/* Accept-Encoding (RFC 9110, 12.5.3). */
#include "http_internal.h"
#include <string.h>

/* ---- Accept-Encoding ---- */

#define UNSAID (-1)

struct weights {
    int gzip, identity, any; /* thousandths; UNSAID: not listed */
};

/* A weight in thousandths; -1 for what is none. */
static int parse_q(struct str text)
{
    int q = 0, unit = HTTP_MAX_WEIGHT;

    if (text.len == 0 || text.len > 5 || (text.s[0] != '0' && text.s[0] != '1') || (text.len > 1 && text.s[1] != '.'))
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (i == 1)
            continue;
        if (text.s[i] < '0' || text.s[i] > '9')
            return -1;
        q += (text.s[i] - '0') * unit;
        unit /= 10;
    }
    return q <= HTTP_MAX_WEIGHT ? q : -1;
}

int http_weight(struct str parameters)
{
    struct str parameter;

    while (str_next(&parameters, ';', &parameter)) {
        parameter = str_trim(parameter);
        if (parameter.len >= 2 && (parameter.s[0] | 0x20) == 'q' && parameter.s[1] == '=')
            return parse_q((struct str){parameter.s + 2, parameter.len - 2});
    }
    return HTTP_MAX_WEIGHT;
}

static int take_weights(void *arg, struct str list)
{
    struct weights *weights = arg;
    struct str item, name;

    while (str_next(&list, ',', &item)) {
        int q;

        if (!str_next(&item, ';', &name) || (q = http_weight(item)) < 0)
            continue;
        name = str_trim(name);
        if (str_caseeq(name, STR("gzip")) || str_caseeq(name, STR("x-gzip")))
            weights->gzip = q;
        else if (str_caseeq(name, STR("identity")))
            weights->identity = q;
        else if (str_eq(name, STR("*")))
            weights->any = q;
    }
    return 0;
}

struct http_codings http_codings_of(const struct http_req *req)
{
    struct weights weights = {UNSAID, UNSAID, UNSAID};
    int gzip;

    http_each_header(req, "accept-encoding", take_weights, &weights);
    gzip = weights.gzip != UNSAID ? weights.gzip : weights.any;
    return (struct http_codings){
        .gzip = gzip > 0 && gzip >= weights.identity,
        .identity = weights.identity != UNSAID ? weights.identity > 0 : weights.any != 0,
    };
}
