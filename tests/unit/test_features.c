#include "../../src/route-guide/features.h"
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

    snprintf(path, sizeof(path), "/tmp/test_features.XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    return fdopen(fd, "w");
}

static struct features *load_file(FILE *file)
{
    struct features *features = NULL;
    int r;

    fclose(file);
    r = features_load(path, &features, error, sizeof(error));
    unlink(path);
    cr_assert_eq(r < 0, features == NULL);
    return features;
}

static struct features *load(const char *text)
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

Test(features, loads_a_file)
{
    struct features *features = load(" [ \n" FEATURE(
        409146138, -746188906, "Wei\\u00dfensee, \\ud83d\\ude00") " ,\n" FEATURE(-900000000, 1800000000, "") "\t]\n\n");
    size_t i;

    cr_assert_not_null(features, "%s", error);
    cr_assert_eq(features_count(features), 2);
    cr_assert(features_find(features, (struct geo_point){409146138, -746188906}, &i));
    cr_assert_eq(i, 0);
    cr_assert_str_eq(features_name(features, 0), "Weißensee, 😀");
    cr_assert(features_find(features, (struct geo_point){-900000000, 1800000000}, &i));
    cr_assert_eq(i, 1);
    cr_assert_str_eq(features_name(features, 1), "");
    cr_assert_not(features_find(features, (struct geo_point){0, 0}, &i));
    features_free(features);
}

Test(features, loads_an_empty_array)
{
    struct features *features = load("[]");
    struct geo_rect everything =
        geo_rect_of((struct geo_point){INT32_MIN, INT32_MIN}, (struct geo_point){INT32_MAX, INT32_MAX});
    struct features_query query;
    size_t i;

    cr_assert_not_null(features, "%s", error);
    cr_assert_eq(features_count(features), 0);
    cr_assert_not(features_find(features, (struct geo_point){0, 0}, &i));
    cr_assert_eq(features_query_open(features, &everything, &query), 0);
    cr_assert_not(features_query_next(&query, &i));
    features_query_close(&query);
    features_free(features);
}

Test(features, ignores_further_members_and_formatting)
{
    struct features *features = load("[{\n  \"id\": [1, {\"a\": null}],\n  \"name\": \"a\",\n"
                                     "  \"location\": {\"longitude\": 2, \"latitude\": 1, \"altitude\": 3.5}\n}]");

    cr_assert_not_null(features, "%s", error);
    cr_assert(geo_point_eq(features_point(features, 0), (struct geo_point){1, 2}));
    features_free(features);
}

Test(features, answers_the_first_of_one_location)
{
    struct features *features =
        load("[" FEATURE(1, 1, "a") "," FEATURE(2, 2, "b") "," FEATURE(2, 2, "c") "," FEATURE(1, 1, "d") "]");
    struct geo_rect rect = geo_rect_of((struct geo_point){2, 2}, (struct geo_point){2, 2});
    struct features_query query;
    size_t i;

    cr_assert(features_find(features, (struct geo_point){2, 2}, &i));
    cr_assert_str_eq(features_name(features, i), "b");
    cr_assert_eq(features_query_open(features, &rect, &query), 0);
    cr_assert(features_query_next(&query, &i));
    cr_assert_str_eq(features_name(features, i), "b", "a rectangle has them all");
    cr_assert(features_query_next(&query, &i));
    cr_assert_str_eq(features_name(features, i), "c");
    cr_assert_not(features_query_next(&query, &i));
    features_query_close(&query);
    features_free(features);
}

Test(features, says_where_a_file_is_wrong)
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

Test(features, bounds_the_length_of_a_name)
{
    struct features *features = NULL;

    for (int len = 1024; len <= 1025; len++) {
        FILE *file = begin_file();

        fprintf(file, "[{\"location\":{\"latitude\":1,\"longitude\":1},\"name\":\"%0*d\"}]", len, 0);
        features = load_file(file);
        cr_assert_eq(features != NULL, len == 1024);
        features_free(features);
    }
}

Test(features, says_what_is_wrong_with_a_file_that_cannot_be_read)
{
    struct features *features = NULL;

    cr_assert_eq(features_load("/nowhere/f.json", &features, error, sizeof(error)), -ENOENT);
    cr_assert_str_eq(error, "/nowhere/f.json: No such file or directory");
    cr_assert_eq(features_load("/tmp", &features, error, sizeof(error)), -EISDIR);
    cr_assert_str_eq(error, "/tmp: Is a directory");
    cr_assert_null(features);
}

/* count features in a square of that side around zero: many share a location or a coordinate where it is small. */
static struct features *load_random(size_t count, int32_t side, uint64_t seed)
{
    FILE *file = begin_file();
    struct features *features;

    for (size_t i = 0; i < count; i++)
        fprintf(file, "%c{\"location\":{\"latitude\":%d,\"longitude\":%d},\"name\":\"%zu\"}\n", i == 0 ? '[' : ',',
                random_between(&seed, -side / 2, side / 2), random_between(&seed, -side / 2, side / 2), i);
    fputs("]\n", file);
    features = load_file(file);
    cr_assert_not_null(features, "%s", error);
    cr_assert_eq(features_count(features), count);
    return features;
}

/* The same features in the same order as a scan finds. */
static size_t check_query(const struct features *features, struct geo_rect rect)
{
    struct features_query query;
    size_t i, count = 0;

    cr_assert_eq(features_query_open(features, &rect, &query), 0);
    for (size_t j = 0; j < features_count(features); j++)
        if (geo_rect_contains(&rect, features_point(features, j))) {
            cr_assert(features_query_next(&query, &i));
            cr_assert_eq(i, j);
            count++;
        }
    cr_assert_not(features_query_next(&query, &i));
    cr_assert_not(features_query_next(&query, &i));
    features_query_close(&query);
    return count;
}

Test(features, finds_what_a_scan_finds)
{
    static const int32_t sides[] = {0, 2, 30, 1000, 1000000000};
    static const size_t counts[] = {1, 7, 8, 9, 10, 100, 3000};
    uint64_t seed = 5;

    for (size_t s = 0; s < 5; s++)
        for (size_t c = 0; c < 7; c++) {
            struct features *features = load_random(counts[c], sides[s], seed);
            int32_t reach = sides[s] / 2 + 1;

            for (int round = 0; round < 60; round++) {
                struct geo_point a = {random_between(&seed, -reach, reach), random_between(&seed, -reach, reach)};
                struct geo_point b = {random_between(&seed, -reach, reach), random_between(&seed, -reach, reach)};
                size_t i;

                check_query(features, geo_rect_of(a, b));
                check_query(features, geo_rect_of(a, a));
                for (size_t first = 0; first < counts[c]; first++)
                    if (geo_point_eq(features_point(features, first),
                                     features_point(features, (size_t)round % counts[c]))) {
                        cr_assert(features_find(features, features_point(features, first), &i));
                        cr_assert_eq(i, first);
                        break;
                    }
            }
            features_free(features);
        }
}

Test(features, reads_through_the_set_where_the_results_are_many)
{
    struct features *features = load_random(FEATURES_MAX_SORTED + 5000, 1000, 6);
    struct geo_point corner = {-1000, -1000};

    cr_assert_eq(check_query(features, geo_rect_of(corner, (struct geo_point){1000, 1000})),
                 FEATURES_MAX_SORTED + 5000);
    cr_assert_geq(check_query(features, geo_rect_of(corner, (struct geo_point){499, 1000})), FEATURES_MAX_SORTED);
    cr_assert_lt(check_query(features, geo_rect_of(corner, (struct geo_point){400, 1000})), FEATURES_MAX_SORTED);
    features_free(features);
}
