/* replay FILE|FOLDER... -- gives each file to a fuzzer, in builds without libFuzzer: what was found once stays mended,
 * for each compiler and sanitizer. Its last line has the form of Criterion's. */
#include "fuzz.h"
#include <fts.h>

static unsigned count;

/* In memory of exactly its size, as libFuzzer gives it. */
static void replay(const char *path)
{
    FILE *file = fopen(path, "re");
    struct buf text = {0};
    uint8_t *exact;
    int c;

    MUST(file != NULL);
    fprintf(stderr, "replay: %s\n", path);
    while ((c = fgetc(file)) != EOF)
        buf_append_char(&text, (char)c);
    fclose(file);
    MUST(!text.failed && (exact = malloc(text.len)) != NULL);
    if (text.len > 0)
        memcpy(exact, text.data, text.len);
    LLVMFuzzerTestOneInput(exact, text.len);
    free(exact);
    buf_release(&text);
    count++;
}

int main(int argc, char **argv)
{
    FTS *tree = fts_open(argv + 1, FTS_LOGICAL | FTS_NOCHDIR, NULL);

    MUST(argc > 1 && tree != NULL);
    for (FTSENT *entry; (entry = fts_read(tree)) != NULL;) {
        MUST(entry->fts_info != FTS_ERR && entry->fts_info != FTS_NS && entry->fts_info != FTS_DNR);
        if (entry->fts_info == FTS_F)
            replay(entry->fts_path);
    }
    fts_close(tree);
    MUST(count > 0);
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: 0 | Crashing: 0\n", count, count);
    return 0;
}
