#include "../../src/route-guide/feature_set.h"
#include "random.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64], error[256];

/* A file of that content; path names it until the next one is made. */
static FILE *begin_file(void)
{
    int fd;

    snprintf(path, sizeof(path), "/tmp/test_feature_set.XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    return fdopen(fd, "w");
}

static struct feature_set *load_file(FILE *file)
{
    struct feature_set *features = NULL;
    int r;

    fclose(file);
    r = feature_set_load(path, &features, error, sizeof(error));
    unlink(path);
    cr_assert_eq(r < 0, features == NULL);
    return features;
}

static struct feature_set *load(const char *text)
{
    FILE *file = begin_file();

    fputs(text, file);
    return load_file(file);
}

/* The text is refused with this error, behind the file's name. */
static void refuses(const char *text, const char *expected)
{
    cr_assert_null(load(text), "%s", text);
    cr_assert_eq(strncmp(error, path, strlen(path)), 0);
    cr_assert_eq(strncmp(error + strlen(path), expected, strlen(expected)), 0, "\n%s\ngives %s", text, error);
    cr_assert_null(strpbrk(error, "\r\n"));
}

#define FEATURE(lat, lon, name) "{\"location\":{\"latitude\":" #lat ",\"longitude\":" #lon "},\"name\":\"" name "\"}"

Test(feature_set, loads_a_file)
{
    struct feature_set *features = load(" [ \n" FEATURE(
        409146138, -746188906, "Wei\\u00dfensee, \\ud83d\\ude00") " ,\n" FEATURE(-900000000, 1800000000, "") "\t]\n\n");

    cr_assert_not_null(features, "%s", error);
    cr_assert_eq(feature_set_count(features), 2);
    cr_assert_str_eq(feature_set_find(features, (struct geo_point){409146138, -746188906})->name, "Weißensee, 😀");
    cr_assert_str_eq(feature_set_find(features, (struct geo_point){-900000000, 1800000000})->name, "");
    cr_assert_null(feature_set_find(features, (struct geo_point){0, 0}));
    feature_set_free(features);
}

/* The form that is read directly and one that is not differ by a blank. */
static void loads_both_ways_alike(const char *location, const char *name)
{
    char text[2][1200];
    struct feature_set *features[2];

    for (int i = 0; i < 2; i++) {
        snprintf(text[i], sizeof(text[i]), "[{\"location\":%s,%s\"name\":\"%s\"}]", location, i ? " " : "", name);
        features[i] = load(text[i]);
    }
    cr_assert_eq(!features[0], !features[1], "%s", text[0]);
    if (features[0]) {
        struct geo_rect world =
            geo_rect_of((struct geo_point){INT32_MIN, INT32_MIN}, (struct geo_point){INT32_MAX, INT32_MAX});
        const struct feature *found[2];

        for (int i = 0; i < 2; i++) {
            struct feature_set_query query;

            cr_assert_eq(feature_set_query_open(features[i], &world, &query), 0);
            found[i] = feature_set_query_next(&query);
            cr_assert_null(feature_set_query_next(&query));
            feature_set_query_close(&query);
        }
        cr_assert(geo_point_eq(found[0]->point, found[1]->point), "%s", text[0]);
        cr_assert_str_eq(found[0]->name, found[1]->name);
    }
    for (int i = 0; i < 2; i++)
        feature_set_free(features[i]);
}

Test(feature_set, reads_the_usual_form_as_any_other)
{
    static const char *const names[] = {"",           "Z\xc3\xbcrich", "\xc3", "\xed\xa0\x80",     "a\tb",
                                        "\\u0041\\n", "\\u0000",       "\\x",  "\xf0\x9f\x98\x80", "\x7f",
                                        "a\nb"};
    static const char *const numbers[] = {
        "0",  "-0", "-1",        "01",        "-01",        "1.0",        "1e3",
        "",   "-",  "900000000", "900000001", "-900000000", "-900000001", "99999999999999999999",
        "+1", "0x1"};
    char location[128], long_name[1030];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        loads_both_ways_alike("{\"latitude\":1,\"longitude\":-2}", names[i]);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(location, sizeof(location), "{\"latitude\":%s,\"longitude\":5}", numbers[i]);
        loads_both_ways_alike(location, "x");
        snprintf(location, sizeof(location), "{\"latitude\":5,\"longitude\":%s}", numbers[i]);
        loads_both_ways_alike(location, "x");
    }
    for (size_t len = 1023; len <= 1025; len++) {
        memset(long_name, 'n', len);
        long_name[len] = '\0';
        loads_both_ways_alike("{\"latitude\":1,\"longitude\":-2}", long_name);
    }
}

Test(feature_set, loads_an_empty_array)
{
    struct feature_set *features = load("[]");
    struct geo_rect everything =
        geo_rect_of((struct geo_point){INT32_MIN, INT32_MIN}, (struct geo_point){INT32_MAX, INT32_MAX});
    struct feature_set_query query;

    cr_assert_not_null(features, "%s", error);
    cr_assert_eq(feature_set_count(features), 0);
    cr_assert_null(feature_set_find(features, (struct geo_point){0, 0}));
    cr_assert_eq(feature_set_query_open(features, &everything, &query), 0);
    cr_assert_null(feature_set_query_next(&query));
    feature_set_query_close(&query);
    feature_set_free(features);
}

Test(feature_set, ignores_further_members_and_formatting)
{
    struct feature_set *features = load("[{\n  \"id\": [1, {\"a\": null}],\n  \"name\": \"a\",\n"
                                        "  \"location\": {\"longitude\": 2, \"latitude\": 1, \"altitude\": 3.5}\n}]");

    cr_assert_not_null(features, "%s", error);
    cr_assert_str_eq(feature_set_find(features, (struct geo_point){1, 2})->name, "a");
    feature_set_free(features);
}

Test(feature_set, answers_the_first_of_one_location)
{
    struct feature_set *features =
        load("[" FEATURE(1, 1, "a") "," FEATURE(2, 2, "b") "," FEATURE(2, 2, "c") "," FEATURE(1, 1, "d") "]");
    struct geo_rect rect = geo_rect_of((struct geo_point){2, 2}, (struct geo_point){2, 2});
    struct feature_set_query query;

    cr_assert_str_eq(feature_set_find(features, (struct geo_point){2, 2})->name, "b");
    cr_assert_eq(feature_set_query_open(features, &rect, &query), 0);
    cr_assert_str_eq(feature_set_query_next(&query)->name, "b", "a rectangle has them all");
    cr_assert_str_eq(feature_set_query_next(&query)->name, "c");
    cr_assert_null(feature_set_query_next(&query));
    feature_set_query_close(&query);
    feature_set_free(features);
}

Test(feature_set, says_where_a_file_is_wrong)
{
    refuses("", ":1:1: '[' expected");
    refuses("{}", ":1:1: '[' expected");
    refuses("[", ":1:2: ");
    refuses("[\n" FEATURE(1, 1, "a") "\n", ":3:1: ',' or ']' expected");
    refuses("[" FEATURE(1, 1, "a") ",\n]", ":2:1: ");
    refuses("[" FEATURE(1, 1, "a") "\n " FEATURE(1, 1, "a") "]", ":2:2: ',' or ']' expected");
    refuses("[\n\n  nonsense]", ":3:10: ");
    refuses("[" FEATURE(1, 1, "a") "]\n\n x", ":3:2: the end of the file expected");
    refuses("[\n" FEATURE(1, 1, "a") ",\n   [1]]", ":3:4: a feature must be an object");
    refuses("[\n" FEATURE(1, 1, "a") ",\n{\"name\":\"b\"}]", ":3:1: location must be");
    refuses("[{\"location\":{\"latitude\":1.0,\"longitude\":1},\"name\":\"\"}]", ":1:2: latitude must be an integer");
    refuses("[{\"location\":{\"latitude\":1},\"name\":\"\"}]", ":1:2: longitude must be an integer");
    refuses("[" FEATURE(900000001, 1, "a") "]", ":1:2: latitude must be");
    refuses("[" FEATURE(1, -1800000001, "a") "]", ":1:2: longitude must be");
    refuses("[" FEATURE(99999999999999999999, 1, "a") "]", ":1:");
    refuses("[{\"location\":{\"latitude\":1,\"longitude\":1}}]", ":1:2: name must be");
    refuses("[{\"location\":{\"latitude\":1,\"longitude\":1},\"name\":null}]", ":1:2: name must be");
    refuses("[{\"name\":\"a\",\n\"name\":\"b\"}]", ":2:");
    refuses("[\n{\"name\":\"\xff\"}]", ":2:");
    refuses("[\n{\"name\":\"a\\u0000b\"}]", ":2:");
    refuses("[\n{\"name\":\"a\nb\"}]", ":2:");
}

Test(feature_set, bounds_the_length_of_a_name)
{
    struct feature_set *features = NULL;

    for (int len = 1024; len <= 1025; len++) {
        FILE *file = begin_file();

        fprintf(file, "[{\"location\":{\"latitude\":1,\"longitude\":1},\"name\":\"%0*d\"}]", len, 0);
        features = load_file(file);
        cr_assert_eq(features != NULL, len == 1024);
        feature_set_free(features);
    }
}

Test(feature_set, says_what_is_wrong_with_a_file_that_cannot_be_read)
{
    struct feature_set *features = NULL;

    cr_assert_eq(feature_set_load("/nowhere/f.json", &features, error, sizeof(error)), -ENOENT);
    cr_assert_str_eq(error, "/nowhere/f.json: No such file or directory");
    cr_assert_eq(feature_set_load("/tmp", &features, error, sizeof(error)), -EISDIR);
    cr_assert_str_eq(error, "/tmp: Is a directory");
    cr_assert_null(features);
}

/* What is in a set that was loaded from a file with these points; the names are their numbers. */
struct known {
    struct feature_set *features;
    size_t count;
    struct geo_point *points;
};

/* count features in a square of that side around zero: many share a location or a coordinate where it is small. */
static struct known load_random(size_t count, int32_t side, uint64_t seed)
{
    struct known known = {.count = count, .points = calloc(count, sizeof(struct geo_point))};
    FILE *file = begin_file();

    for (size_t i = 0; i < count; i++) {
        struct geo_point point = {random_between(&seed, -side / 2, side / 2),
                                  random_between(&seed, -side / 2, side / 2)};

        known.points[i] = point;
        fprintf(file, "%c{\"location\":{\"latitude\":%d,\"longitude\":%d},\"name\":\"%zu\"}\n", i == 0 ? '[' : ',',
                point.latitude, point.longitude, i);
    }
    fputs("]\n", file);
    known.features = load_file(file);
    cr_assert_not_null(known.features, "%s", error);
    cr_assert_eq(feature_set_count(known.features), count);
    return known;
}

static void forget(struct known *known)
{
    feature_set_free(known->features);
    free(known->points);
}

/* The same features in the same order as a scan finds. */
static size_t check_query(const struct known *known, struct geo_rect rect)
{
    struct feature_set_query query;
    size_t count = 0;

    cr_assert_eq(feature_set_query_open(known->features, &rect, &query), 0);
    for (size_t i = 0; i < known->count; i++)
        if (geo_rect_contains(&rect, known->points[i])) {
            const struct feature *feature = feature_set_query_next(&query);

            cr_assert_not_null(feature);
            cr_assert_eq(strtoul(feature->name, NULL, 10), i);
            cr_assert(geo_point_eq(feature->point, known->points[i]));
            count++;
        }
    cr_assert_null(feature_set_query_next(&query));
    cr_assert_null(feature_set_query_next(&query));
    feature_set_query_close(&query);
    return count;
}

static void check_find(const struct known *known, struct geo_point point)
{
    const struct feature *feature = feature_set_find(known->features, point);
    size_t first = 0;

    while (first < known->count && !geo_point_eq(known->points[first], point))
        first++;
    cr_assert_eq(feature != NULL, first < known->count);
    cr_assert(!feature || strtoul(feature->name, NULL, 10) == first);
}

Test(feature_set, finds_what_a_scan_finds)
{
    static const int32_t sides[] = {0, 2, 30, 1000, 1000000000};
    static const size_t counts[] = {1, 7, 8, 9, 10, 100, 3000};
    uint64_t seed = 5;

    for (size_t s = 0; s < 5; s++)
        for (size_t c = 0; c < 7; c++) {
            struct known known = load_random(counts[c], sides[s], seed);
            int32_t reach = sides[s] / 2 + 1;

            for (int round = 0; round < 60; round++) {
                struct geo_point a = {random_between(&seed, -reach, reach), random_between(&seed, -reach, reach)};
                struct geo_point b = {random_between(&seed, -reach, reach), random_between(&seed, -reach, reach)};

                check_query(&known, geo_rect_of(a, b));
                check_query(&known, geo_rect_of(a, a));
                check_find(&known, a);
                check_find(&known, known.points[random_next(&seed) % counts[c]]);
            }
            forget(&known);
        }
}

Test(feature_set, reads_through_the_set_where_the_results_are_many)
{
    struct known known = load_random(FEATURE_SET_MAX_SORTED + 300, 1000, 6);
    struct geo_point corner = {-1000, -1000};

    cr_assert_eq(check_query(&known, geo_rect_of(corner, (struct geo_point){1000, 1000})),
                 FEATURE_SET_MAX_SORTED + 300);
    cr_assert_geq(check_query(&known, geo_rect_of(corner, (struct geo_point){499, 1000})), FEATURE_SET_MAX_SORTED);
    cr_assert_lt(check_query(&known, geo_rect_of(corner, (struct geo_point){400, 1000})), FEATURE_SET_MAX_SORTED);
    forget(&known);
}
