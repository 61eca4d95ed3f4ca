/* A write beyond the heap in src/lib: buf.c with one byte less than it asks for. */
#include <criterion/criterion.h>
#include <stdlib.h>
#define realloc(memory, size) realloc(memory, (size)-1)
#include "../../src/lib/base/buf.c"

Test(seed, overflow)
{
    struct buf buf = {0};

    for (int i = 0; i < 4096; i++)
        buf_append_char(&buf, 'x');
    buf_release(&buf);
}
