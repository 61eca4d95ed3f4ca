/* greeting -- the text that both protocols answer with. */
#pragma once
#include <slipway/buf.h>

#define GREETED_MAX   64 /* bytes of a name */
#define GREETING_SIZE (GREETED_MAX + sizeof("Hello, !"))

/* False: name is empty, longer than GREETED_MAX, or no UTF-8. */
bool greeting(struct str name, char ret_text[GREETING_SIZE]);
