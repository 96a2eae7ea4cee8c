/* The ring of messages to one client. */
#include "router/messages/outbound.h"

#include "common/verify.h"

#include <stdlib.h>

enum {
    CAPACITY_MIN = 4,
    CAPACITY_KEPT = 16, /* a ring that ran empty is given back when it is larger */
};

_Static_assert(sizeof(struct out_entry) == 40, "an entry must stay small");

struct outbound *outbound_new(void)
{
    struct outbound *out = calloc(1, sizeof(*out));
    VERIFY(out != NULL);
    out->first_expiry = UINT64_MAX;
    return out;
}

static void let_go(struct out_entry *entry)
{
    if (entry->message != NULL)
        message_unref(entry->message);
    entry->message = NULL;
    if (entry->identifier_count > 1)
        free(entry->identifiers.many);
    entry->identifier_count = 0;
}

void outbound_free(struct outbound *out)
{
    for (uint32_t i = 0; i < out->count; i++)
        let_go(outbound_at(out, i));
    free(out->entries);
    free(out);
}

static void resize(struct outbound *out, uint32_t capacity)
{
    struct out_entry *entries = reallocarray(NULL, capacity, sizeof(*entries));

    VERIFY(entries != NULL);
    for (uint32_t i = 0; i < out->count; i++)
        entries[i] = *outbound_at(out, i);
    free(out->entries);
    out->entries = entries;
    out->capacity = capacity;
    out->head = 0;
}

static struct out_entry *new_entry(struct outbound *out)
{
    if (out->count == out->capacity)
        resize(out, out->capacity == 0 ? CAPACITY_MIN : out->capacity * 2);
    return outbound_at(out, out->count++);
}

void outbound_push_released(struct outbound *out)
{
    *new_entry(out) = (struct out_entry){
        .sequence = out->next_sequence++, .qos = 2, .state = OUT_RELEASED, .flags = OUT_STORED};
    out->inflight++;
}

struct out_entry *outbound_push(struct outbound *out, struct message *message, uint8_t qos,
                                uint8_t flags, const uint32_t *identifiers, unsigned count)
{
    VERIFY(count <= UINT8_MAX && qos <= 2);
    struct out_entry *entry = new_entry(out);
    *entry = (struct out_entry){.message = message_ref(message),
                                .sequence = out->next_sequence++,
                                .identifier_count = (uint8_t)count,
                                .qos = qos,
                                .state = OUT_WAITING,
                                .flags = flags};
    if (count == 1) {
        entry->identifiers.one = identifiers[0];
    } else if (count > 1) {
        entry->identifiers.many = reallocarray(NULL, count, sizeof(uint32_t));
        VERIFY(entry->identifiers.many != NULL);
        memcpy(entry->identifiers.many, identifiers, count * sizeof(uint32_t));
    }
    out->waiting++;
    out->waiting_bytes += message_size(message);
    if (message->expiry != 0 && message->expiry < out->first_expiry)
        out->first_expiry = message->expiry;
    return entry;
}

/* The first position whose sequence is not less; out->count when there is none. */
static uint32_t position_of(const struct outbound *out, uint64_t sequence)
{
    uint64_t guess = sequence - outbound_at(out, 0)->sequence;
    uint32_t low = 0;
    uint32_t high = out->count;

    /* Without gaps the difference of the numbers is the position; with gaps it is at most that. */
    if (guess < out->count) {
        if (outbound_at(out, (uint32_t)guess)->sequence == sequence)
            return (uint32_t)guess;
        high = (uint32_t)guess;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (outbound_at(out, middle)->sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct out_entry *outbound_find(const struct outbound *out, uint64_t sequence)
{
    struct out_entry *last = outbound_at(out, out->count - 1);

    if (last->sequence == sequence)
        return last;
    uint32_t position = position_of(out, sequence);
    VERIFY(position < out->count && outbound_at(out, position)->sequence == sequence);
    return outbound_at(out, position);
}

struct out_entry *outbound_in_flight(const struct outbound *out, uint16_t packet_id)
{
    if (out->inflight == 0 || packet_id == 0)
        return NULL;
    uint64_t first = outbound_at(out, 0)->sequence;
    uint64_t ahead = (packet_id - 1u + PACKET_IDS - first % PACKET_IDS) % PACKET_IDS;
    uint32_t position = position_of(out, first + ahead);
    if (position == out->count)
        return NULL;
    struct out_entry *entry = outbound_at(out, position);
    bool in_flight = entry->state == OUT_SENT || entry->state == OUT_RELEASED;
    return in_flight && entry->sequence == first + ahead ? entry : NULL;
}

/* Takes the entry's share out of the totals of its state. */
static void discount(struct outbound *out, const struct out_entry *entry)
{
    uint64_t bytes = entry->message != NULL ? message_size(entry->message) : 0;

    if (entry->state == OUT_WAITING) {
        out->waiting--;
        out->waiting_bytes -= bytes;
    } else if (entry->state == OUT_SENT || entry->state == OUT_RELEASED) {
        out->inflight--;
        out->inflight_bytes -= bytes;
    }
}

void outbound_sent(struct outbound *out, struct out_entry *entry)
{
    VERIFY(entry->state == OUT_WAITING && entry->qos > 0);
    discount(out, entry);
    entry->state = OUT_SENT;
    out->inflight++;
    out->inflight_bytes += message_size(entry->message);
}

void outbound_released(struct outbound *out, struct out_entry *entry)
{
    VERIFY(entry->state == OUT_SENT && entry->qos == 2);
    out->inflight_bytes -= message_size(entry->message);
    let_go(entry);
    entry->state = OUT_RELEASED;
}

/* Squeezes out the entries that are gone. */
static void compact(struct outbound *out)
{
    uint32_t to = 0;
    uint32_t cursor = 0;

    for (uint32_t i = 0; i < out->count; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (i == out->cursor)
            cursor = to;
        if (entry->state != OUT_GONE)
            *outbound_at(out, to++) = *entry;
    }
    out->cursor = out->cursor >= out->count ? to : cursor;
    out->count = to;
    out->gone = 0;
}

void outbound_tidy(struct outbound *out)
{
    while (out->count > 0 && outbound_at(out, 0)->state == OUT_GONE) {
        out->head = (out->head + 1) & (out->capacity - 1);
        out->count--;
        out->gone--;
        out->cursor -= out->cursor > 0;
    }
    if (out->gone > CAPACITY_KEPT && out->gone > out->count / 2)
        compact(out);
    if (out->count == 0 && out->capacity > CAPACITY_KEPT) {
        free(out->entries);
        out->entries = NULL;
        out->capacity = out->head = 0;
    } else if (out->capacity > 4 * CAPACITY_KEPT && out->count < out->capacity / 8) {
        resize(out, out->capacity / 4);
    }
    if (out->waiting == 0)
        out->first_expiry = UINT64_MAX;
}

void outbound_drop(struct outbound *out, struct out_entry *entry)
{
    VERIFY(entry->state != OUT_GONE);
    discount(out, entry);
    let_go(entry);
    entry->state = OUT_GONE;
    out->gone++;
}

void outbound_remove(struct outbound *out, struct out_entry *entry)
{
    outbound_drop(out, entry);
    outbound_tidy(out);
}

void outbound_rewind(struct outbound *out)
{
    for (uint32_t i = 0; i < out->cursor; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->state != OUT_SENT)
            continue;
        discount(out, entry);
        entry->state = OUT_WAITING;
        entry->flags |= OUT_DUP;
        out->waiting++;
        out->waiting_bytes += message_size(entry->message);
    }
    out->cursor = 0;
}
