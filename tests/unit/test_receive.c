/* src/console/receive.c: what resources become, and that no sender can make the console grow. */
#include "../../src/console/console.h"
#include "otlp_fixture.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

static struct console console;

static void begin(void)
{
    cr_assert_eq(console_open(&console, 4 << 20), 0);
    console_tick(&console, console_now_ms());
}

static void end(void)
{
    console_close(&console);
}

TestSuite(receive, .init = begin, .fini = end);

static uint64_t take(enum receive_signal signal, struct buf *take_resource)
{
    uint64_t rejected = 0;

    cr_assert_eq(receive_resource(&console, signal, buf_str(take_resource), &rejected), 0);
    buf_release(take_resource);
    return rejected;
}

static void take_span(const char *service, const struct span_fixture *span)
{
    struct buf resource = {0}, item = {0};

    put_span(&item, span);
    put_resource(&resource, service, service);
    put_item(&resource, &item);
    cr_assert_eq(take(RECEIVE_SPANS, &resource), 0);
}

static struct fleet_flow *flow(const char *from, const char *to)
{
    for (unsigned i = 0; i < console.fleet.flow_count; i++)
        if (strcmp(console.fleet.flows[i]->from, from) == 0 && strcmp(console.fleet.flows[i]->to, to) == 0)
            return console.fleet.flows[i];
    return NULL;
}

/* The two ends of a call come from two processes, in any order. */
Test(receive, flows)
{
    const struct span_fixture root = {.trace = 1, .id = 1}, call = {.trace = 1, .id = 2, .parent = 1, .kind = 3},
                              served = {.trace = 1, .id = 3, .parent = 2};

    take_span("countries", &root);
    take_span("countries", &call);
    take_span("users", &served);
    cr_assert_not_null(flow("clients", "countries"));
    cr_assert_not_null(flow("countries", "users"));
    cr_assert_eq(console.fleet.flow_count, 2);
    take_span("b", &(struct span_fixture){.trace = 2, .id = 3, .parent = 2});
    cr_assert_null(flow("a", "b"));
    take_span("a", &(struct span_fixture){.trace = 2, .id = 2, .parent = 1, .kind = 3});
    cr_assert_not_null(flow("a", "b"));
}

Test(receive, who_is_not_named_is_refused)
{
    struct buf resource = {0}, item = {0};

    put_span(&item, &(struct span_fixture){.trace = 1, .id = 1});
    put_item(&resource, &item);
    cr_assert_eq(take(RECEIVE_SPANS, &resource), 1);
    cr_assert_null(TAILQ_FIRST(&console.traces.ordinary));
}

Test(receive, what_is_malformed_is_refused)
{
    uint64_t rejected = 0;

    cr_assert_eq(receive_resource(&console, RECEIVE_SPANS, STR("\x0a\x7f"), &rejected), -EBADMSG);
    cr_assert_eq(receive_resource(&console, RECEIVE_LOGS, (struct str){"\0", 1}, &rejected), -EBADMSG);
}

/* More items than are taken under one lock. */
Test(receive, large_batches)
{
    struct buf resource = {0};

    put_resource(&resource, "shop", "shop-1");
    for (uint64_t i = 1; i <= 1000; i++) {
        struct buf item = {0};

        put_span(&item, &(struct span_fixture){.trace = i, .id = i});
        put_item(&resource, &item);
    }
    cr_assert_eq(take(RECEIVE_SPANS, &resource), 0);
    cr_assert_eq(console.spans.now, 1000);
    cr_assert_eq(console.fleet.replica_count, 1);
}

/* Names, values and numbers of attributes without end, of services without end: about what is allowed is kept. */
Test(receive, hostile_senders)
{
    static char text[1 << 20];
    char service[32];

    memset(text, 'x', sizeof(text) - 1);
    for (uint64_t i = 1; i <= 3000; i++) {
        struct buf resource = {0}, span = {0}, record = {0}, body = {0};

        snprintf(service, sizeof(service), "service-%llu", (unsigned long long)i);
        memcpy(text, service, strlen(service));
        put_span(&span, &(struct span_fixture){.trace = i, .id = i, .failed = true, .name = i % 100 == 0 ? text : "x"});
        put_bytes(&body, 1, (struct str){text, i % 100 == 0 ? sizeof(text) - 1 : 2000});
        put_message(&record, 5, &body);
        for (size_t k = 0; k < 40; k++) {
            text[40] = (char)('a' + k % 26);
            put_attribute(&span, 9, (struct str){text, 500}, (struct str){text, 2000});
            put_attribute(&record, 6, (struct str){text, 500}, (struct str){text, 2000});
        }
        put_resource(&resource, service, text);
        put_item(&resource, &span);
        take(RECEIVE_SPANS, &resource);
        put_resource(&resource, service, text);
        put_item(&resource, &record);
        take(RECEIVE_LOGS, &resource);
        cr_assert_leq(console_used(&console), (size_t)(5 << 20), "%llu", (unsigned long long)i);
    }
    cr_assert_leq(console.fleet.replica_count, FLEET_MAX_REPLICAS);
}
