/* Criterion maps its sandbox's memory at 0x200000000000 + rand_r() * 16 MiB, which lies where ThreadSanitizer wants its
 * own. With this rand_r in the test program it lies where both are content. */
#include <stdlib.h>

int rand_r(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return 0x360000 + (int)(*seed >> 18 & 0x3fff);
}
