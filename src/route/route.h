/* route -- what route-guide and feature-store have in common: how points are checked, and the rpcs RecordRoute and
 * RouteChat, which differ only in what counts as a feature.
 *
 * The state of a service that uses it begins with a struct route. All functions belong to a call's handlers.
 */
#pragma once
#include "chat.h"
#include "config.h"
#include "geo.h"
#include "routeguide.rpc_server.h"

#define ROUTE_MAX_NAME 1024 /* bytes of a feature's name; an empty one is an unnamed feature */

/* err is 0 or -errno; why, for the client, may be NULL. */
typedef void route_found(void *arg, int err, const char *why, bool is_feature);

struct svc;

struct route {
    struct chat *chat;
    /* Is there a feature at the point? Calls found once: at once, or later and in any thread. */
    void (*lookup)(struct rpc_call *call, struct geo_point point, route_found *found, void *arg);
};

/* An option of both services. */
/* clang-format off */
#define ROUTE_CHAT_MAX_BYTES {                                                                                         \
        .name = "CHAT_MAX_BYTES", .value = "512Mi", .kind = CONFIG_BYTES, .min = 64 * 1024, .max = INT64_MAX,          \
        .help = "memory for notes of RouteChat, at most 1/8 of the memory limit; the oldest are dropped" }
/* clang-format on */

/* The chat of a service with that option; NULL out of memory. */
struct chat *route_chat_new(const struct svc *svc);

/* Take a message's part apart. Where it is missing or invalid they finish the call with INVALID_ARGUMENT, saying why,
 * and return false. */
bool route_point(struct rpc_call *call, const Routeguide__Point *point, struct geo_point *ret_point);
bool route_rect(struct rpc_call *call, const Routeguide__Rectangle *rectangle, struct geo_rect *ret_rect);
bool route_feature(struct rpc_call *call, const Routeguide__Feature *feature, struct geo_point *ret_point,
                   struct str *ret_name); /* the name stays the message's */

/* Of metadata idempotency-key; false where there is one that is not 1 to 255 visible ASCII characters. */
bool route_idempotency_key(struct rpc_call *call, struct str *ret_key);

/* A message that lives in its caller's scope; name is borrowed. */
struct route_feature {
    Routeguide__Point location;
    Routeguide__Feature message;
};
const Routeguide__Feature *route_feature_message(struct route_feature *feature, struct geo_point point,
                                                 const char *name);

/* Entries of a table of methods. */
#define ROUTE_RECORD                                                                                                   \
    ROUTEGUIDE__ROUTE_GUIDE__RECORD_ROUTE(route_record_point, .on_open = route_record_open,                            \
                                          .on_half_close = route_record_end, .on_close = route_record_close)
#define ROUTE_CHAT                                                                                                     \
    ROUTEGUIDE__ROUTE_GUIDE__ROUTE_CHAT(route_chat_note, .on_open = route_chat_open, .on_half_close = route_chat_end,  \
                                        .on_writable = route_chat_writable, .on_close = route_chat_close)

void route_record_open(struct rpc_call *call);
void route_record_point(struct rpc_call *call, const Routeguide__Point *message);
void route_record_end(struct rpc_call *call);
void route_record_close(struct rpc_call *call);
void route_chat_open(struct rpc_call *call);
void route_chat_note(struct rpc_call *call, const Routeguide__RouteNote *note);
void route_chat_end(struct rpc_call *call);
void route_chat_writable(struct rpc_call *call);
void route_chat_close(struct rpc_call *call);
