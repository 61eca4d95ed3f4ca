/* RouteChat. A note's replies are sent from a list of the notes as they were; until all are queued, no further notes
 * are read: so a call holds one list, however slowly its client reads. */
#include "route.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct conversation {
    struct chat_notes notes; /* to be sent */
    size_t next;             /* of them */
    bool paused;
    bool ended; /* the client has sent all its notes */
};

static int send_note(struct rpc_call *call, struct chat_note *note)
{
    Routeguide__Point location = ROUTEGUIDE__POINT__INIT;
    Routeguide__RouteNote message = ROUTEGUIDE__ROUTE_NOTE__INIT;

    location.latitude = note->location.latitude;
    location.longitude = note->location.longitude;
    message.location = &location;
    message.message = note->message;
    return routeguide__route_guide__route_chat__send(call, &message);
}

static void forget_notes(struct conversation *conversation)
{
    chat_notes_release(&conversation->notes);
    conversation->next = 0;
}

/* Sends what the queue takes; goes on reading, or finishes, once all has been taken. */
static void send_notes(struct rpc_call *call, struct conversation *conversation)
{
    int r = 0;

    while (r == 0 && conversation->next < conversation->notes.count)
        r = send_note(call, conversation->notes.notes[conversation->next++]);
    if (r > 0) { /* on_writable goes on */
        if (!conversation->paused)
            rpc_pause(call);
        conversation->paused = true;
        return;
    }
    forget_notes(conversation);
    if (conversation->ended)
        rpc_finish(call, ERR_GRPC_OK, NULL);
    else if (conversation->paused)
        rpc_resume(call);
    conversation->paused = false;
}

void route_chat_open(struct rpc_call *call)
{
    struct conversation *conversation = calloc(1, sizeof(*conversation));

    if (!conversation)
        rpc_fail(call, -ENOMEM, err_text(-ENOMEM));
    rpc_call_set_data(call, conversation);
}

void route_chat_note(struct rpc_call *call, const Routeguide__RouteNote *note)
{
    const struct route *route = rpc_call_service_state(call);
    struct conversation *conversation = rpc_call_data(call);
    struct geo_point point;
    int r;

    if (!conversation || !route_point(call, note->location, &point))
        return;
    assert(conversation->notes.count == 0); /* paused while there are any */
    r = chat_append(route->chat, point, str_of(note->message), &conversation->notes);
    if (r == -EMSGSIZE)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "the message is longer than 1024 bytes");
    else if (r == -EINVAL)
        rpc_finish(call, ERR_GRPC_INVALID_ARGUMENT, "the message is not valid UTF-8");
    else if (r < 0)
        rpc_fail(call, r, err_text(r));
    else
        send_notes(call, conversation);
}

void route_chat_end(struct rpc_call *call)
{
    struct conversation *conversation = rpc_call_data(call);

    if (!conversation)
        return;
    conversation->ended = true;
    if (conversation->notes.count == 0)
        rpc_finish(call, ERR_GRPC_OK, NULL);
}

void route_chat_writable(struct rpc_call *call)
{
    struct conversation *conversation = rpc_call_data(call);

    if (conversation)
        send_notes(call, conversation);
}

void route_chat_close(struct rpc_call *call)
{
    struct conversation *conversation = rpc_call_data(call);

    if (conversation)
        forget_notes(conversation);
    free(conversation);
}
