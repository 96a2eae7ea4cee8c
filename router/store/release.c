/* Answers that wait for a commit. */
#include "router/store/release.h"

#include "common/verify.h"
#include "router/messages/send.h"
#include "router/router.h"
#include "router/sessions/connect_accept.h"
#include "router/worker_link.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 64 };

void releases_free(struct releases *releases)
{
    for (size_t i = 0; i < releases->count; i++)
        free((void *)releases->ring[(releases->head + i) & (releases->capacity - 1)].codes);
    free(releases->ring);
    *releases = (struct releases){0};
}

static struct release *ring_push(struct releases *releases)
{
    if (releases->count == releases->capacity) {
        size_t capacity = releases->capacity == 0 ? CAPACITY_MIN : releases->capacity * 2;
        struct release *ring = reallocarray(NULL, capacity, sizeof(*ring));
        VERIFY(ring != NULL);
        for (size_t i = 0; i < releases->count; i++)
            ring[i] = releases->ring[(releases->head + i) & (releases->capacity - 1)];
        free(releases->ring);
        releases->ring = ring;
        releases->capacity = capacity;
        releases->head = 0;
    }
    return &releases->ring[(releases->head + releases->count++) & (releases->capacity - 1)];
}

/* The client has one message less under way [MQTT-4.9.0-2]. */
static void give_place_back(struct connection *c, const struct release *release)
{
    bool done = release->packet == MQTT_PUBACK || release->packet == MQTT_PUBCOMP ||
                (release->packet == MQTT_PUBREC && release->reason >= REASON_UNSPECIFIED);

    if (done && c->receiving > 0)
        c->receiving--;
}

static void perform(struct router *r, struct connection *c, const struct release *release)
{
    struct buf *out = &c->worker->channel.out;

    if (release->kind == RELEASE_OPEN) {
        connect_open(r, c);
    } else if (release->kind == RELEASE_SEND) {
        send_waiting(r, c);
    } else if (release->kind == RELEASE_ACK) {
        give_place_back(c, release);
        rw_ack_encode(out, &(struct rw_ack){.conn = c->handle,
                                            .packet = release->packet,
                                            .packet_id = release->packet_id,
                                            .reason = release->reason});
    } else {
        rw_suback_encode(
            out, &(struct rw_suback){.conn = c->handle,
                                     .packet = release->packet,
                                     .packet_id = release->packet_id,
                                     .codes = slice_of(release->codes, release->code_count)});
        replay_continue(r, c->session);
    }
}

/* Does it now, or keeps it. What is kept owns a copy of the codes. */
static void release_or_wait(struct router *r, struct connection *c, struct release release)
{
    if (release.number <= persist_committed(&r->persist) && c->pending_acks == 0) {
        perform(r, c, &release);
        return;
    }
    release.handle = c->handle;
    release.worker = c->worker->index;
    if (release.code_count > 0) {
        uint8_t *codes = malloc(release.code_count);
        VERIFY(codes != NULL);
        memcpy(codes, release.codes, release.code_count);
        release.codes = codes;
    }
    /* The order of numbers is the ring's order: what needs none waits for those before it. */
    struct releases *releases = &r->releases;
    if (releases->count > 0) {
        size_t last = (releases->head + releases->count - 1) & (releases->capacity - 1);
        if (release.number < releases->ring[last].number)
            release.number = releases->ring[last].number;
    }
    c->pending_acks++;
    *ring_push(releases) = release;
}

void release_ack(struct router *r, struct connection *c, enum mqtt_packet packet,
                 uint16_t packet_id, uint8_t reason, uint64_t number)
{
    release_or_wait(r, c,
                    (struct release){.number = number,
                                     .kind = RELEASE_ACK,
                                     .packet = (uint8_t)packet,
                                     .packet_id = packet_id,
                                     .reason = reason});
}

void release_suback(struct router *r, struct connection *c, enum mqtt_packet packet,
                    uint16_t packet_id, struct slice codes, uint64_t number)
{
    release_or_wait(r, c,
                    (struct release){.number = number,
                                     .kind = RELEASE_SUBACK,
                                     .packet = (uint8_t)packet,
                                     .packet_id = packet_id,
                                     .codes = codes.data,
                                     .code_count = codes.len});
}

void release_open(struct router *r, struct connection *c, uint64_t number)
{
    release_or_wait(r, c, (struct release){.number = number, .kind = RELEASE_OPEN});
}

void release_delivery(struct router *r, struct connection *c, uint64_t number)
{
    if (c->gate >= number)
        return; /* it is waited for already */
    c->gate = number;
    release_or_wait(r, c, (struct release){.number = number, .kind = RELEASE_SEND});
}

void release_committed(struct router *r)
{
    struct releases *releases = &r->releases;

    while (releases->count > 0) {
        struct release release = releases->ring[releases->head];
        if (release.number > persist_committed(&r->persist))
            return;
        releases->head = (releases->head + 1) & (releases->capacity - 1);
        releases->count--;
        struct connection *c = router_connection(r, release.worker, release.handle);
        if (c != NULL && c->session != NULL) {
            c->pending_acks--;
            perform(r, c, &release);
        }
        free((void *)release.codes);
    }
}
