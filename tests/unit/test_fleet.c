#include "../../src/console/fleet.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#define START_MS 1000000000ull

static struct fleet fleet;

static void begin(void)
{
    cr_assert_eq(fleet_open(&fleet), 0);
    fleet_tick(&fleet, START_MS);
}

static void end(void)
{
    fleet_release(&fleet);
}

TestSuite(fleet, .init = begin, .fini = end);

static struct fleet_replica *see(const char *service, const char *instance, const char *version, uint64_t now_ms)
{
    const struct otlp_pairs resource = {
        .count = 3,
        .list = {{.key = STR("service.name"), .string = str_of(service)},
                 {.key = STR("service.instance.id"), .string = str_of(instance)},
                 {.key = STR("service.version"), .string = str_of(version)}},
    };

    return fleet_seen(&fleet, &resource, now_ms);
}

static void point(struct fleet_replica *replica, const char *metric, const char *label, const char *value,
                  double number, uint64_t now_ms)
{
    struct otlp_point_view view = {.time_ns = now_ms * 1000000, .value = number};

    view.attributes.count = 1;
    view.attributes.list[0] = (struct otlp_pair){.key = str_of(label), .string = str_of(value)};
    fleet_point(&fleet, replica, str_of(metric), &view, now_ms);
}

static unsigned count_events(enum fleet_event_kind kind)
{
    unsigned count = 0;

    for (uint64_t at = fleet.last_event; fleet_event(&fleet, at) != NULL; at--)
        count += fleet_event(&fleet, at)->kind == kind;
    return count;
}

Test(fleet, a_resource_without_a_name_is_refused)
{
    const struct otlp_pairs nobody = {.count = 0};

    cr_assert_null(fleet_seen(&fleet, &nobody, START_MS));
    cr_assert_eq(fleet.replica_count, 0);
}

/* All instances that do not say who they are count as one. */
Test(fleet, a_resource_without_an_instance)
{
    const struct otlp_pairs resource = {.count = 1, .list = {{.key = STR("service.name"), .string = STR("notes")}}};
    struct fleet_replica *replica = fleet_seen(&fleet, &resource, START_MS);

    cr_assert_not_null(replica);
    cr_assert_str_eq(replica->instance, "");
    cr_assert_eq(fleet_seen(&fleet, &resource, START_MS), replica);
}

Test(fleet, states_of_a_process_that_says_them)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    cr_assert_eq(replica->state, FLEET_STARTING);
    point(replica, "process_phase", "phase", "ready", 0, START_MS);
    cr_assert_eq(replica->state, FLEET_STARTING); /* it is the others' that is 1 */
    point(replica, "process_phase", "phase", "ready", 1, START_MS);
    cr_assert_eq(replica->state, FLEET_READY);
    point(replica, "process_phase", "phase", "draining", 1, START_MS + 1);
    cr_assert_eq(replica->state, FLEET_DRAINING);
    fleet_message(&fleet, replica, STR("ready"), START_MS + 1); /* a line that is late changes nothing */
    cr_assert_eq(replica->state, FLEET_DRAINING);
    point(replica, "process_phase", "phase", "stopped", 1, START_MS + 2);
    cr_assert_eq(replica->state, FLEET_GONE);
    cr_assert_eq(count_events(FLEET_STARTED), 1);
    cr_assert_eq(count_events(FLEET_BECAME_READY), 1);
    cr_assert_eq(count_events(FLEET_BEGAN_DRAINING), 1);
    cr_assert_eq(count_events(FLEET_WENT), 1);
    point(replica, "process_phase", "phase", "starting", 1, START_MS + 3);
    cr_assert_eq(count_events(FLEET_RESTARTED), 1);
}

/* Lines, spans and metrics come on connections of their own. */
Test(fleet, a_line_overtakes_metrics)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    fleet_message(&fleet, replica, STR("ready"), START_MS);
    point(replica, "process_phase", "phase", "starting", 1, START_MS);
    cr_assert_eq(replica->state, FLEET_READY);
    point(replica, "process_phase", "phase", "ready", 1, START_MS + 1);
    point(replica, "process_phase", "phase", "not_ready", 1, START_MS + 2);
    cr_assert_eq(replica->state, FLEET_STARTING);
    cr_assert_eq(count_events(FLEET_BECAME_READY), 1);
}

Test(fleet, states_by_lines_and_spans)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    fleet_message(&fleet, replica, STR("ready"), START_MS);
    cr_assert_eq(replica->state, FLEET_READY);
    fleet_message(&fleet, replica, STR("draining"), START_MS);
    cr_assert_eq(replica->state, FLEET_DRAINING);
    fleet_message(&fleet, replica, STR("stopped"), START_MS);
    cr_assert_eq(replica->state, FLEET_GONE);
    fleet_span(&fleet, replica, &(struct otlp_span_view){.kind = 2}, START_MS);
    cr_assert_eq(replica->state, FLEET_READY);
}

/* A process that was killed says nothing any more: it is gone after three of its intervals. */
Test(fleet, silence)
{
    struct fleet_replica *killed = see("notes", "notes-1", "1", START_MS),
                         *quiet = see("notes", "notes-2", "1", START_MS);

    for (uint64_t ms = START_MS; ms <= START_MS + 3000; ms += 1000) {
        see("notes", "notes-1", "1", ms);
        point(killed, "process_phase", "phase", "ready", 1, ms);
        fleet_tick(&fleet, ms + 500);
    }
    cr_assert_eq(killed->metrics.interval_ms, 1000);
    fleet_tick(&fleet, START_MS + 8000);
    cr_assert_eq(killed->state, FLEET_READY);
    fleet_tick(&fleet, START_MS + 9000);
    cr_assert_eq(killed->state, FLEET_GONE);
    cr_assert_neq(quiet->state, FLEET_GONE); /* it has never sent metrics */
    fleet_tick(&fleet, START_MS + 130000);
    cr_assert_eq(quiet->state, FLEET_GONE);
    fleet_tick(&fleet, START_MS + 130000 + FLEET_FORGET_MS);
    cr_assert_eq(fleet.replica_count, 0);
    cr_assert_eq(fleet.service_count, 0);
}

static void connections_at(struct fleet_replica *replica, double number, uint64_t time_ns, uint64_t now_ms)
{
    const struct otlp_point_view view = {.time_ns = time_ns, .value = number};

    fleet_point(&fleet, replica, STR("http_connections"), &view, now_ms);
}

/* A clock that is set after the first export makes the interval long: the silence that is waited for has a bound. */
Test(fleet, silence_of_one_whose_clock_is_set)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    connections_at(replica, 1, 1, START_MS);
    fleet_tick(&fleet, START_MS + 500);
    connections_at(replica, 1, START_MS * 1000000, START_MS + 1000);
    fleet_tick(&fleet, START_MS + 1500);
    cr_assert_neq(replica->state, FLEET_GONE);
    fleet_tick(&fleet, START_MS + 4 * 3600000);
    cr_assert_eq(replica->state, FLEET_GONE);
}

Test(fleet, a_clock_that_is_set_back)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    connections_at(replica, 1, (START_MS + 3600000) * 1000000, START_MS);
    fleet_tick(&fleet, START_MS + 500);
    connections_at(replica, 2, START_MS * 1000000, START_MS + 1000);
    fleet_tick(&fleet, START_MS + 1500);
    cr_assert_eq(replica->connections, 2);
    connections_at(replica, 3, (START_MS - 1000) * 1000000, START_MS + 2000); /* late: left out */
    fleet_tick(&fleet, START_MS + 2500);
    cr_assert_eq(replica->connections, 2);
}

Test(fleet, scaling_is_told_once_it_lasts)
{
    for (uint64_t ms = START_MS; ms <= START_MS + 5000; ms += 1000) {
        see("notes", "notes-1", "1", ms);
        see("notes", "notes-2", "1", ms);
        fleet_tick(&fleet, ms);
    }
    cr_assert_eq(count_events(FLEET_SCALED), 0); /* how many there were at first */
    see("notes", "notes-3", "1", START_MS + 5100);
    fleet_tick(&fleet, START_MS + 6000);
    see("notes", "notes-4", "1", START_MS + 6100);
    see("notes", "notes-5", "1", START_MS + 6100);
    for (uint64_t ms = START_MS + 7000; ms <= START_MS + 12000; ms += 1000)
        fleet_tick(&fleet, ms);
    cr_assert_eq(count_events(FLEET_SCALED), 1);
    cr_assert_str_eq(fleet_event(&fleet, fleet.last_event)->text, "2 -> 5");
}

Test(fleet, a_new_version_is_told_once)
{
    see("notes", "notes-1", "1", START_MS);
    see("notes", "notes-2", "1", START_MS);
    cr_assert_eq(count_events(FLEET_NEW_VERSION), 0);
    see("notes", "notes-3", "2", START_MS);
    see("notes", "notes-4", "2", START_MS);
    see("notes", "notes-1", "2", START_MS); /* the same name, another program */
    cr_assert_eq(count_events(FLEET_NEW_VERSION), 1);
    cr_assert_str_eq(fleet.replicas[0]->version, "2");
}

Test(fleet, rates_by_spans)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);
    uint64_t ms = START_MS;

    for (unsigned second = 0; second < 15; second++, ms += 1000) {
        for (unsigned i = 0; i < 20; i++)
            fleet_span(&fleet, replica,
                       &(struct otlp_span_view){.kind = i % 2 == 0 ? 2 : 3, .failed = i == 0, .end_ns = 8000000}, ms);
        fleet_tick(&fleet, ms + 1000);
    }
    cr_assert_float_eq(replica->requests_per_s, 10, 0.01); /* those it served */
    cr_assert_float_eq(replica->errors_per_s, 1, 0.01);
    cr_assert_float_eq(replica->p99_ms, 8, 2);
    cr_assert(isnan(replica->loop_utilization));
    for (unsigned second = 0; second < 30; second++, ms += 1000)
        fleet_tick(&fleet, ms + 1000);
    cr_assert_eq(replica->requests_per_s, 0);
    cr_assert(isnan(replica->p99_ms));
}

/* Of two exports, several series each; the requests of before the first are not counted. */
Test(fleet, rates_by_metrics)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    for (unsigned i = 0; i < 3; i++) {
        uint64_t ms = START_MS + 2000 * i;

        point(replica, "http_requests_total", "status", "200", 1000 + 100 * i, ms);
        point(replica, "http_requests_total", "status", "503", 10 * i, ms);
        point(replica, "grpc_server_handled_total", "grpc_code", "OK", 6 * i, ms);
        point(replica, "grpc_server_handled_total", "grpc_code", "INTERNAL", 4 * i, ms);
        point(replica, "event_loop_turn_seconds", "worker", "http-0", 0.5 * i, ms);
        point(replica, "event_loop_turn_seconds", "worker", "http-1", 1.5 * i, ms);
        point(replica, "event_loop_turn_seconds", "worker", "admin-0", 2.0 * i, ms);
        point(replica, "clients_memory_bytes", "", "", 4096, ms);
        point(replica, "memory_part_max_bytes", "part", "clients", 65536, ms);
        point(replica, "memory_part_max_bytes", "part", "http", 1, ms);
        point(replica, "http_connections", "server", "http", 3, ms);
        point(replica, "http_connections", "server", "admin", 5, ms);
        fleet_tick(&fleet, ms + 1000);
    }
    cr_assert_float_eq(replica->requests_per_s, 60, 0.01);
    cr_assert_float_eq(replica->errors_per_s, 7, 0.01);
    cr_assert_float_eq(replica->loop_utilization, 0.75, 0.001);
    cr_assert_eq(replica->memory_used, 4096);
    cr_assert_eq(replica->memory_limit, 65536);
    cr_assert_eq(replica->connections, 3);
    cr_assert_not(replica->store.is_there);
}

Test(fleet, latencies_by_metrics)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    for (unsigned i = 0; i < 2; i++) {
        struct otlp_point_view view = {.time_ns = (START_MS + 1000 * i) * 1000000,
                                       .bound_count = 3,
                                       .bounds = {0.001, 0.002, 1},
                                       .buckets = {5 * i, 90 * i, 5 * i, 0}};

        fleet_point(&fleet, replica, STR("http_request_duration_seconds"), &view, START_MS + 1000 * i);
        fleet_tick(&fleet, START_MS + 1000 * i + 500);
    }
    cr_assert_float_eq(replica->p50_ms, 1.4, 0.5);
    cr_assert_gt(replica->p99_ms, 30);
}

Test(fleet, a_store)
{
    struct fleet_replica *replica = see("notes", "notes-1", "1", START_MS);

    for (unsigned i = 0; i < 2; i++) {
        uint64_t ms = START_MS + 1000 * i;

        point(replica, "store_info", "engine", "lmdb", 1, ms);
        point(replica, "store_info", "engine", "etcd", 0, ms);
        point(replica, "store_records", "", "", 42, ms);
        point(replica, "store_commits_total", "", "", 7 * i, ms);
        fleet_tick(&fleet, ms + 500);
    }
    cr_assert_str_eq(replica->store.engine, "lmdb");
    cr_assert_eq(replica->store.records, 42);
    cr_assert_eq(replica->store.commits_per_s, 7);
    cr_assert(isnan(replica->store.lag_ms));
}

/* A million names do not grow it, and no replica that lives loses its place. */
Test(fleet, hostile_names)
{
    struct fleet_replica *first = see("notes", "notes-1", "1", START_MS);
    char name[300], instance[300];
    size_t used = 0;

    for (unsigned i = 0; i < 1000000; i++) {
        snprintf(name, sizeof(name), "service-%u", i % 500);
        snprintf(instance, sizeof(instance), "%0250u", i);
        see(name, instance, "1", START_MS);
        if (i == 5000)
            used = fleet.used;
    }
    cr_assert_eq(fleet.used, used);
    cr_assert_leq(fleet.replica_count, FLEET_MAX_REPLICAS);
    cr_assert_leq(fleet.service_count, FLEET_MAX_SERVICES);
    cr_assert_lt(used, 8 << 20);
    cr_assert_eq(see("notes", "notes-1", "1", START_MS), first);
}

Test(fleet, one_that_is_gone_makes_place)
{
    char instance[32];

    for (unsigned i = 0; i < FLEET_MAX_REPLICAS; i++) {
        snprintf(instance, sizeof(instance), "%u", i);
        cr_assert_not_null(see("notes", instance, "1", START_MS));
    }
    cr_assert_null(see("users", "users-1", "1", START_MS));
    fleet_message(&fleet, see("notes", "7", "1", START_MS), STR("stopped"), START_MS);
    cr_assert_not_null(see("users", "users-1", "1", START_MS));
    cr_assert_eq(fleet.replica_count, FLEET_MAX_REPLICAS);
}

Test(fleet, a_service_that_is_gone_makes_place)
{
    char service[32];

    for (unsigned i = 0; i < FLEET_MAX_SERVICES; i++) {
        snprintf(service, sizeof(service), "service-%u", i);
        cr_assert_not_null(see(service, "1", "1", START_MS));
    }
    cr_assert_null(see("notes", "notes-1", "1", START_MS));
    cr_assert_not_null(see("service-7", "2", "1", START_MS)); /* of a service that has its place */
    fleet_message(&fleet, see("service-9", "1", "1", START_MS), STR("stopped"), START_MS);
    cr_assert_not_null(see("notes", "notes-1", "1", START_MS));
    cr_assert_eq(fleet.service_count, FLEET_MAX_SERVICES);
}

Test(fleet, events_are_a_ring)
{
    for (unsigned i = 0; i < 2 * FLEET_MAX_EVENTS; i++)
        fleet_message(&fleet, see("notes", "notes-1", "1", START_MS), i % 2 == 0 ? STR("ready") : STR("draining"),
                      START_MS);
    cr_assert_eq(fleet.last_event, 2 * FLEET_MAX_EVENTS + 1);
    cr_assert_not_null(fleet_event(&fleet, fleet.last_event - FLEET_MAX_EVENTS + 1));
    cr_assert_null(fleet_event(&fleet, fleet.last_event - FLEET_MAX_EVENTS));
}
