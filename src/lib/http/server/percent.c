#include "hex.h"
#include "http_internal.h"
#include <errno.h>

int http_percent_decode(struct str text, bool plus_is_space, char *to, size_t *ret_len)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.s[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int byte = i + 2 < text.len ? hex_byte(text.s + i + 1) : -1;
            if (byte < 0)
                return -EINVAL;
            c = (char)byte;
            i += 2;
        }
        if (c == '\0')
            return -EINVAL;
        to[len++] = c;
    }
    *ret_len = len;
    return 0;
}
