/* A leak in src/lib: buf.c without its free. Criterion passes this test; the report is what must fail it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#define free(memory) ((void)(memory))
#include "../../src/lib/base/buf.c"

Test(seed, leak)
{
    struct buf buf = {0};

    buf_append_cstr(&buf, "never given back");
    buf_release(&buf);
}
