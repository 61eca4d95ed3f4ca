/* Reads the file element by element: of the JSON only one is in memory at a time.
 *
 * Elements in the form in which data sets are written, with nothing between the tokens, are read directly; all others,
 * wrong ones included, by jansson, which takes many times as long. Both ways give the same features (a test).
 */
#include "buf.h"
#include "feature_set_internal.h"
#include "route.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct loader {
    const char *path;
    const char *text; /* the mapped file */
    size_t len, at;
    struct feature_set *set;
    char *error;
    size_t error_size;
};

/* What is wrong at that byte. Returns -EINVAL. */
static int fail_at(const struct loader *l, size_t at, const char *reason)
{
    size_t line = 1, line_start = 0;
    int len;

    if (at > l->len)
        at = l->len;
    for (const char *p = l->text; p && (p = memchr(p, '\n', (size_t)(l->text + at - p))); p++, line++)
        line_start = (size_t)(p - l->text) + 1;
    len = snprintf(l->error, l->error_size, "%s:%zu:%zu: %s", l->path, line, at - line_start + 1, reason);
    for (int i = 0; i < len && (size_t)i + 1 < l->error_size; i++)
        if ((unsigned char)l->error[i] < ' ') /* the reason may quote the file: it stays one line */
            l->error[i] = ' ';
    return -EINVAL;
}

static int fail_file(const struct loader *l, int err)
{
    snprintf(l->error, l->error_size, "%s: %s", l->path, strerror(-err));
    return err;
}

/* The next character that is not white space; '\0' at the end. */
static char peek(struct loader *l)
{
    while (l->at < l->len && strchr(" \t\r\n", l->text[l->at]) && l->text[l->at] != '\0')
        l->at++;
    return l->at < l->len ? l->text[l->at] : '\0';
}

static bool scan_text(const char **p, const char *end, struct str text)
{
    if ((size_t)(end - *p) < text.len || memcmp(*p, text.s, text.len) != 0)
        return false;
    *p += text.len;
    return true;
}

/* An integer as JSON writes it, without a leading zero. */
static bool scan_integer(const char **p, const char *end, int32_t max, int32_t *ret_value)
{
    bool negative = scan_text(p, end, STR("-"));
    const char *first = *p;
    int64_t value = 0;

    while (*p < end && **p >= '0' && **p <= '9' && value <= max)
        value = value * 10 + (*(*p)++ - '0');
    if (*p == first || (*first == '0' && *p - first > 1) || value > max)
        return false;
    *ret_value = (int32_t)(negative ? -value : value);
    return true;
}

/* A string in which nothing is escaped, up to its closing quote. */
static bool scan_name(const char **p, const char *end, struct str *ret_name)
{
    const char *quote = memchr(*p, '"', (size_t)(end - *p));
    size_t code_points;

    if (!quote || quote - *p > ROUTE_MAX_NAME)
        return false;
    *ret_name = (struct str){*p, (size_t)(quote - *p)};
    for (const char *c = *p; c < quote; c++)
        if ((unsigned char)*c < ' ' || *c == '\\')
            return false;
    *p = quote + 1;
    return str_utf8_length(*ret_name, &code_points) == 0;
}

/* The element at l->at, if it has the usual form; false says nothing about it. */
static bool scan_feature(struct loader *l, struct geo_point *ret_point, struct str *ret_name)
{
    const char *p = l->text + l->at, *end = l->text + l->len;

    if (!scan_text(&p, end, STR("{\"location\":{\"latitude\":")) ||
        !scan_integer(&p, end, GEO_MAX_LATITUDE, &ret_point->latitude) || !scan_text(&p, end, STR(",\"longitude\":")) ||
        !scan_integer(&p, end, GEO_MAX_LONGITUDE, &ret_point->longitude) || !scan_text(&p, end, STR("},\"name\":\"")) ||
        !scan_name(&p, end, ret_name) || !scan_text(&p, end, STR("}")))
        return false;
    l->at = (size_t)(p - l->text);
    return true;
}

static bool read_coordinate(const json_t *location, const char *name, int32_t max, int32_t *ret_value)
{
    const json_t *value = json_object_get(location, name);
    json_int_t integer = json_integer_value(value);

    if (!json_is_integer(value) || integer < -max || integer > max)
        return false;
    *ret_value = (int32_t)integer;
    return true;
}

/* NULL, or what is wrong. */
static const char *read_feature(const json_t *element, struct geo_point *ret_point, struct str *ret_name)
{
    const json_t *location = json_object_get(element, "location"), *name = json_object_get(element, "name");

    if (!json_is_object(element))
        return "a feature must be an object with location and name";
    if (!json_is_object(location))
        return "location must be an object with latitude and longitude";
    if (!read_coordinate(location, "latitude", GEO_MAX_LATITUDE, &ret_point->latitude))
        return "latitude must be an integer between -900000000 and 900000000";
    if (!read_coordinate(location, "longitude", GEO_MAX_LONGITUDE, &ret_point->longitude))
        return "longitude must be an integer between -1800000000 and 1800000000";
    if (!json_is_string(name) || json_string_length(name) > ROUTE_MAX_NAME)
        return "name must be a string of at most 1024 bytes";
    *ret_name = (struct str){json_string_value(name), json_string_length(name)};
    return NULL;
}

static int add_feature(struct loader *l, struct geo_point point, struct str name)
{
    int r = feature_set_add(l->set, point, name);

    if (r < 0)
        snprintf(l->error, l->error_size, "%s: %zu features: %s", l->path, feature_set_count(l->set), strerror(-r));
    return r;
}

static int load_any_feature(struct loader *l)
{
    size_t start = l->at;
    json_error_t json_error;
    struct geo_point point;
    struct str name;
    const char *wrong;
    json_t *element =
        json_loadb(l->text + start, l->len - start, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &json_error);
    int r;

    if (!element) /* position counts the bytes up to the end of what was not expected */
        return fail_at(l, start + (json_error.position > 0 ? (size_t)json_error.position - 1 : 0), json_error.text);
    l->at = start + (size_t)json_error.position;
    wrong = read_feature(element, &point, &name);
    r = wrong ? fail_at(l, start, wrong) : add_feature(l, point, name);
    json_decref(element);
    return r;
}

static int load_feature(struct loader *l)
{
    struct geo_point point;
    struct str name;

    return scan_feature(l, &point, &name) ? add_feature(l, point, name) : load_any_feature(l);
}

static int load_array(struct loader *l)
{
    char next;

    if (peek(l) != '[')
        return fail_at(l, l->at, "'[' expected: the file is an array of features");
    l->at++;
    next = peek(l) == ']' ? ']' : ',';
    while (next == ',') {
        int r;

        peek(l);
        r = load_feature(l);
        if (r < 0)
            return r;
        next = peek(l);
        if (next != ',' && next != ']')
            return fail_at(l, l->at, "',' or ']' expected");
        if (next == ',')
            l->at++;
    }
    l->at++;
    if (peek(l) != '\0' || l->at < l->len)
        return fail_at(l, l->at, "the end of the file expected");
    return 0;
}

static int load_mapped(struct loader *l)
{
    int r;

    l->set = feature_set_new();
    if (!l->set)
        return fail_file(l, -ENOMEM);
    r = load_array(l);
    if (r < 0)
        return r;
    r = feature_set_index(l->set);
    return r < 0 ? fail_file(l, r) : 0;
}

int feature_set_load(const char *path, struct feature_set **ret_set, char *error, size_t error_size)
{
    struct loader l = {.path = path, .error = error, .error_size = error_size};
    struct stat st;
    void *map = NULL;
    int r, fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail_file(&l, -errno);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail_file(&l, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL);
    }
    if (st.st_size > 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    r = map == MAP_FAILED ? -errno : 0;
    close(fd);
    if (r < 0)
        return fail_file(&l, r);
    if (map)
        madvise(map, (size_t)st.st_size, MADV_SEQUENTIAL);
    l.text = map ? map : "";
    l.len = (size_t)st.st_size;
    r = load_mapped(&l);
    if (map)
        munmap(map, (size_t)st.st_size);
    if (r < 0)
        l.set = feature_set_free(l.set);
    else
        *ret_set = l.set;
    return r;
}
