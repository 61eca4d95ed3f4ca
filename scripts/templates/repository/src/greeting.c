#include "greeting.h"
#include <stdio.h>

bool greeting(struct str name, char ret_text[GREETING_SIZE])
{
    size_t code_points;

    if (name.len == 0 || name.len > GREETED_MAX || str_utf8_length(name, &code_points) < 0)
        return false;
    snprintf(ret_text, GREETING_SIZE, "Hello, %.*s!", (int)name.len, name.s);
    return true;
}
