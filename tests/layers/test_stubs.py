"""The typed stubs that the build makes of proto/*.proto: a wrong method name or message type does not compile."""

import pytest
from test_layers import compiles

BEGIN = """
#include "routeguide.rpc_client.h"
#include "routeguide.rpc_server.h"
#include "field.h"
static void on_point(struct rpc_call *call, const Routeguide__Point *point)
{
    Routeguide__Feature feature = ROUTEGUIDE__FEATURE__INIT;
    routeguide__route_guide__get_feature__reply(call, &feature);
}
static void on_feature(struct rpc_call *call, const Routeguide__Feature *feature) {}
static void on_saved(void *arg, const struct rpc_status *status, const Routeguide__SavedResult *reply) {}
static void on_summary(void *arg, const struct rpc_status *status, const Routeguide__RouteSummary *reply) {}
struct thing { int64_t size; int count; struct str name; };
"""
END = """
extern const struct rpc_method methods[];
const struct rpc_method methods[] = {ROUTEGUIDE__ROUTE_GUIDE__GET_FEATURE(on_point),
    ROUTEGUIDE__ROUTE_GUIDE__LIST_FEATURES(on_rectangle, .on_writable = NULL), {0}};
static void on_rectangle(struct rpc_call *call, const Routeguide__Rectangle *rectangle)
{
    routeguide__route_guide__list_features__send(call, feature);
}
int main(void)
{
    (void)on_summary;
    return routeguide__route_guide__save_feature__call(NULL, feature, NULL, on_saved, NULL);
}
static const struct field list[] = {FIELD_INT(struct thing, size, 1, 2), FIELD_STRING(struct thing, name, 1, 2)};
"""
MIDDLE = """
static const Routeguide__Feature *feature;
static const Routeguide__Point *point;
static void on_rectangle(struct rpc_call *call, const Routeguide__Rectangle *rectangle);
"""
RIGHT = BEGIN + MIDDLE + END + "void *used[] = {(void *)list, (void *)on_feature, &point};\n"
WRONG = {
    "a method that is not there": ("GET_FEATURE(on_point)", "GET_FEATURES(on_point)"),
    "a handler of another message": ("GET_FEATURE(on_point)", "GET_FEATURE(on_feature)"),
    "a handler that is none": ("LIST_FEATURES(on_rectangle", "LIST_FEATURES(on_saved"),
    "a reply of another type": ("list_features__send(call, feature)", "list_features__send(call, rectangle)"),
    "a reply to a method that is not there": ("get_feature__reply(", "get_features__reply("),
    "a request of another type": ("save_feature__call(NULL, feature", "save_feature__call(NULL, point"),
    "an answer of another type": ("NULL, on_saved, NULL", "NULL, on_summary, NULL"),
    "a field of another type": ("FIELD_INT(struct thing, size", "FIELD_INT(struct thing, count"),
    "a field that is not there": ("FIELD_STRING(struct thing, name", "FIELD_STRING(struct thing, title"),
}


def test_what_is_right_compiles():
    done = compiles("services", RIGHT, "-fsyntax-only")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mistake", WRONG)
def test_what_is_wrong_does_not(mistake):
    right, wrong = WRONG[mistake]
    assert RIGHT.count(right) == 1
    assert compiles("services", RIGHT.replace(right, wrong), "-fsyntax-only").returncode != 0
