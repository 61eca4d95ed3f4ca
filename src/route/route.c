#include "route.h"
#include "idempotency.h"
#include "svc.h"
#include <stdio.h>

static bool refuse(struct rpc_call *call, const char *what, const char *why)
{
    char message[160];

    snprintf(message, sizeof(message), "%s %s", what, why);
    rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, message);
    return false;
}

static bool part_point(struct rpc_call *call, const char *what, const Routeguide__Point *point,
                       struct geo_point *ret_point)
{
    struct geo_point p;

    if (!point)
        return refuse(call, what, "is missing");
    p = (struct geo_point){point->latitude, point->longitude};
    if (!geo_point_valid(p))
        return refuse(call, what, "is beyond latitude +-900000000 or longitude +-1800000000");
    *ret_point = p;
    return true;
}

bool route_point(struct rpc_call *call, const Routeguide__Point *point, struct geo_point *ret_point)
{
    return part_point(call, "the point", point, ret_point);
}

bool route_rect(struct rpc_call *call, const Routeguide__Rectangle *rectangle, struct geo_rect *ret_rect)
{
    struct geo_point lo, hi;

    if (!part_point(call, "the corner lo", rectangle->lo, &lo) ||
        !part_point(call, "the corner hi", rectangle->hi, &hi))
        return false;
    *ret_rect = geo_rect_of(lo, hi);
    return true;
}

bool route_feature(struct rpc_call *call, const Routeguide__Feature *feature, struct geo_point *ret_point,
                   struct str *ret_name)
{
    struct str name = str_of(feature->name);
    struct geo_point p;
    size_t code_points;

    if (!part_point(call, "the location", feature->location, &p))
        return false;
    if (name.len > ROUTE_MAX_NAME)
        return refuse(call, "the name", "is longer than 1024 bytes");
    if (str_utf8_length(name, &code_points) < 0)
        return refuse(call, "the name", "is not valid UTF-8");
    *ret_point = p;
    *ret_name = name;
    return true;
}

bool route_idempotency_key(struct rpc_call *call, struct str *ret_key)
{
    struct str key = rpc_call_metadata(call, "idempotency-key");

    if (key.s && !idempotency_key_valid(key))
        return refuse(call, "the idempotency-key", "is not 1 to 255 visible ASCII characters");
    *ret_key = key;
    return true;
}

const Routeguide__Feature *route_feature_message(struct route_feature *feature, struct geo_point point,
                                                 const char *name)
{
    routeguide__point__init(&feature->location);
    feature->location.latitude = point.latitude;
    feature->location.longitude = point.longitude;
    routeguide__feature__init(&feature->message);
    feature->message.location = &feature->location;
    feature->message.name = (char *)name; /* only read: messages are not const inside */
    return &feature->message;
}

struct chat *route_chat_new(const struct svc *svc)
{
    size_t max = (size_t)config_int(svc_config(svc), "CHAT_MAX_BYTES");

    return chat_new(svc_memory_part_at_most(svc, MEMORY_SERVICE, max), svc_metrics(svc));
}
