#include "../../src/console/otlp_read.h"
#include "otlp_fixture.h"
#include <criterion/criterion.h>
#include <errno.h>

static int keep(void *arg, struct str item)
{
    *(struct str *)arg = item;
    return 0;
}

Test(otlp_read, a_span)
{
    struct buf span = {0}, resource = {0};
    struct otlp_pairs attributes;
    struct otlp_span_view view;
    struct str item = STR_NULL;

    put_span(&span, &(struct span_fixture){.trace = 7,
                                           .id = 8,
                                           .parent = 9,
                                           .name = "GET /a",
                                           .kind = 3,
                                           .start_ns = 1000,
                                           .duration_ns = 50,
                                           .failed = true});
    put_attribute(&span, 9, STR("url.path"), STR("/a"));
    put_bytes(&span, 100, STR("a field that is not known"));
    put_resource(&resource, "shop", "shop-1");
    put_item(&resource, &span);

    cr_assert_eq(otlp_read_resource(buf_str(&resource), &attributes), 0);
    cr_assert(str_eq(otlp_pair_string(&attributes, STR("service.name")), STR("shop")));
    cr_assert(str_eq(otlp_pair_string(&attributes, STR("service.instance.id")), STR("shop-1")));
    cr_assert_null(otlp_pair_string(&attributes, STR("service.version")).s);
    cr_assert_eq(otlp_each_item(buf_str(&resource), keep, &item), 0);
    cr_assert_eq(otlp_read_span(item, &view), 0);
    cr_assert_eq(view.trace_id.len, 16);
    cr_assert_eq(view.span_id.s[7], 8);
    cr_assert_eq(view.parent_id.s[7], 9);
    cr_assert(str_eq(view.name, STR("GET /a")));
    cr_assert_eq(view.kind, 3);
    cr_assert_eq(view.end_ns - view.start_ns, 50);
    cr_assert(view.failed);
    cr_assert(str_eq(view.message, STR("it failed")));
    cr_assert_eq(view.attributes.count, 1);
    cr_assert(str_eq(view.attributes.list[0].string, STR("/a")));
    buf_release(&resource);
}

Test(otlp_read, kinds_of_values)
{
    struct buf record = {0}, value = {0}, pair = {0}, list = {0};
    struct otlp_record_view view;

    put_bytes(&value, 1, STR("hello"));
    put_message(&record, 5, &value);
    put_number(&value, 3, (uint64_t)-5);
    put_bytes(&pair, 1, STR("integer"));
    put_message(&pair, 2, &value);
    put_message(&record, 6, &pair);
    put_double(&value, 4, 0.5);
    put_bytes(&pair, 1, STR("double"));
    put_message(&pair, 2, &value);
    put_message(&record, 6, &pair);
    put_number(&value, 2, 1);
    put_bytes(&pair, 1, STR("bool"));
    put_message(&pair, 2, &value);
    put_message(&record, 6, &pair);
    put_message(&value, 5, &list); /* an empty list: left out */
    put_bytes(&pair, 1, STR("list"));
    put_message(&pair, 2, &value);
    put_message(&record, 6, &pair);
    put_fixed(&record, 11, 77); /* observed: there is no other time */
    put_number(&record, 2, 17);

    cr_assert_eq(otlp_read_record(buf_str(&record), &view), 0);
    cr_assert(str_eq(view.body, STR("hello")));
    cr_assert_eq(view.time_ns, 77);
    cr_assert_eq(view.severity, 17);
    cr_assert_eq(view.attributes.count, 3);
    cr_assert_eq(view.attributes.list[0].integer, -5);
    cr_assert_eq(view.attributes.list[1].kind, OTLP_DOUBLE);
    cr_assert_float_eq(view.attributes.list[1].number, 0.5, 0);
    cr_assert_eq(view.attributes.list[2].kind, OTLP_BOOL);
    cr_assert_eq(view.attributes.list[2].integer, 1);
    buf_release(&record);
}

static int keep_point(void *arg, const struct otlp_point_view *point)
{
    *(struct otlp_point_view *)arg = *point;
    return 0;
}

Test(otlp_read, a_histogram)
{
    struct buf metric = {0}, histogram = {0}, point = {0};
    const uint64_t counts[] = {1, 2, 3};
    const double bounds[] = {0.1, 1};
    static struct otlp_point_view view;
    struct otlp_metric_view read;

    put_fixed(&point, 3, 1234);
    put_fixed(&point, 4, 6);
    put_double(&point, 5, 7.5);
    put_bytes(&point, 6, (struct str){(const char *)counts, sizeof(counts)});
    put_bytes(&point, 7, (struct str){(const char *)bounds, sizeof(bounds)});
    put_attribute(&point, 9, STR("path"), STR("/a"));
    put_message(&histogram, 1, &point);
    put_number(&histogram, 2, 2); /* cumulative */
    put_bytes(&metric, 1, STR("seconds"));
    put_message(&metric, 9, &histogram);

    cr_assert_eq(otlp_read_metric(buf_str(&metric), &read), 0);
    cr_assert_eq(read.kind, OTLP_HISTOGRAM);
    cr_assert_not(read.delta);
    cr_assert_eq(otlp_each_point(&read, keep_point, &view), 0);
    cr_assert_eq(view.time_ns, 1234);
    cr_assert_float_eq(view.value, 7.5, 0);
    cr_assert_eq(view.bound_count, 2);
    cr_assert_eq(view.buckets[2], 3);
    cr_assert(str_eq(otlp_pair_string(&view.attributes, STR("path")), STR("/a")));
    buf_release(&metric);
}

/* All that a hostile histogram can have: more buckets than there is room for. */
Test(otlp_read, too_many_buckets)
{
    struct buf metric = {0}, histogram = {0}, point = {0};
    static struct otlp_point_view view;
    static uint64_t many[1000];
    struct otlp_metric_view read;

    for (size_t i = 0; i < 1000; i++)
        many[i] = 1;
    put_bytes(&point, 6, (struct str){(const char *)many, sizeof(many)});
    put_bytes(&point, 7, (struct str){(const char *)many, sizeof(many)});
    put_message(&histogram, 1, &point);
    put_message(&metric, 9, &histogram);
    cr_assert_eq(otlp_read_metric(buf_str(&metric), &read), 0);
    cr_assert_eq(otlp_each_point(&read, keep_point, &view), 0);
    cr_assert_eq(view.bound_count, OTLP_MAX_BUCKETS);
    cr_assert_eq(view.buckets[OTLP_MAX_BUCKETS], 1000 - OTLP_MAX_BUCKETS);
    buf_release(&metric);
}

Test(otlp_read, attributes_beyond_the_bound_are_left_out)
{
    struct buf span = {0};
    struct otlp_span_view view;

    for (size_t i = 0; i < 3 * OTLP_MAX_PAIRS; i++)
        put_attribute(&span, 9, STR("key"), STR("value"));
    cr_assert_eq(otlp_read_span(buf_str(&span), &view), 0);
    cr_assert_eq(view.attributes.count, OTLP_MAX_PAIRS);
    buf_release(&span);
}

/* Cut anywhere, a message is read to its end or refused; a length beyond the end, a field 0 and a group are refused. */
Test(otlp_read, malformed)
{
    struct buf span = {0};
    struct otlp_span_view view;
    struct otlp_pairs pairs;
    struct str item;

    put_span(&span, &(struct span_fixture){.trace = 1, .id = 2, .failed = true});
    put_attribute(&span, 9, STR("key"), STR("value"));
    for (size_t len = 0; len < span.len; len++) {
        char *copy = malloc(len + 1); /* so that a sanitizer sees what is read beyond it */
        int r;

        memcpy(copy, span.data, len);
        r = otlp_read_span((struct str){copy, len}, &view);
        cr_assert(r == 0 || r == -EBADMSG);
        free(copy);
    }
    cr_assert_eq(otlp_read_span(STR("\x0a\x05hi"), &view), -EBADMSG);
    cr_assert_eq(otlp_read_span((struct str){"\0", 1}, &view), -EBADMSG);
    cr_assert_eq(otlp_read_span(STR("\x0b"), &view), -EBADMSG);
    cr_assert_eq(otlp_read_resource(STR("\x0a\x02\x0a\x05"), &pairs), -EBADMSG);
    cr_assert_eq(otlp_each_item(STR("\x12\x02\x12\x05"), keep, &item), -EBADMSG);
    buf_release(&span);
}
