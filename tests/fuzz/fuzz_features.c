/* route-guide's data set: a JSON file. It gives the same features where spaces keep it from being read directly, and
 * what is wrong is told by file, line and column. */
#include "../../src/route-guide/feature_set.h"
#include "fuzz.h"
#include <sys/mman.h>
#include <unistd.h>

static struct feature_set *load(struct str text)
{
    struct feature_set *set = NULL;
    char path[64], error[512] = "";
    int fd = memfd_create("features", MFD_CLOEXEC), err;
    unsigned line, column;

    MUST(fd >= 0 && write(fd, text.s, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    err = feature_set_load(path, &set, error, sizeof(error));
    close(fd);
    MUST((err == 0) == (set != NULL) && strpbrk(error, "\r\n") == NULL);
    if (err < 0) {
        MUST(err == -EINVAL && strncmp(error, path, strlen(path)) == 0);
        MUST(sscanf(error + strlen(path), ":%u:%u: ", &line, &column) == 2 && line >= 1 && column >= 1);
    }
    return set;
}

/* A space behind each brace that is not in a string. */
static void add_spaces(struct str text, struct buf *spaced)
{
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        buf_append_char(spaced, text.s[i]);
        if (in_string && text.s[i] == '\\' && i + 1 < text.len)
            buf_append_char(spaced, text.s[++i]);
        else if (text.s[i] == '"')
            in_string = !in_string;
        else if (text.s[i] == '{' && !in_string)
            buf_append_char(spaced, ' ');
    }
}

static void check_same(const struct feature_set *a, const struct feature_set *b)
{
    const struct geo_rect all = {.lo = {-900000000, -1800000000}, .hi = {900000000, 1800000000}};
    struct feature_set_query x, y;
    const struct feature *feature, *same;
    size_t count = 0;

    MUST(feature_set_count(a) == feature_set_count(b));
    MUST(feature_set_query_open(a, &all, &x) == 0 && feature_set_query_open(b, &all, &y) == 0);
    while ((feature = feature_set_query_next(&x)) != NULL) {
        MUST((same = feature_set_query_next(&y)) != NULL && strcmp(feature->name, same->name) == 0);
        MUST(memcmp(&feature->point, &same->point, sizeof(feature->point)) == 0);
        MUST(geo_rect_contains(&all, feature->point) && feature_set_find(a, feature->point) != NULL);
        count++;
    }
    MUST(count == feature_set_count(a));
    feature_set_query_close(&x);
    feature_set_query_close(&y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct buf spaced = {0};
    struct feature_set *set, *same;

    add_spaces(text, &spaced);
    set = load(text);
    same = load(buf_str(&spaced));
    MUST((set == NULL) == (same == NULL));
    if (set != NULL)
        check_same(set, same);
    feature_set_free(set);
    feature_set_free(same);
    buf_release(&spaced);
    return 0;
}
