/* Taking in the state from the store. */
#include "router/store/load.h"

#include "common/log.h"
#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/messages/publish.h"
#include "router/messages/queue.h"
#include "router/messages/received_ids.h"
#include "router/sessions/will.h"
#include "router/store/record_format.h"
#include "router/store/records.h"

#include <stdlib.h>

enum { PARTS_MIN = 64 };

/* A session or message by the number that others refer to it with. */
struct numbered {
    struct keyed_node link;
    uint64_t number;
    struct session *session;
    struct message *message;
    uint64_t sent_through;
    uint64_t away_since;
    uint32_t doubtful; /* entries that may have been sent: the window of a lost connection */
};

/* A record that belongs to a session, put aside. */
struct part {
    uint64_t session;
    uint64_t sequence; /* of a queued message, else 0 */
    uint32_t key_size;
    uint32_t value_size;
    uint8_t kind; /* enum record_kind */
    uint8_t bytes[];
};

struct load {
    struct router *r;
    struct keyed_table sessions;
    struct keyed_table messages;
    struct part **parts;
    size_t count;
    size_t capacity;
    uint64_t not_understood;
    uint64_t orphans;
};

struct load *load_begin(struct router *r)
{
    struct load *load = calloc(1, sizeof(*load));

    VERIFY(load != NULL);
    load->r = r;
    keyed_table_init(&load->sessions);
    keyed_table_init(&load->messages);
    return load;
}

static struct numbered *find(const struct keyed_table *table, uint64_t number)
{
    struct keyed_node *node = keyed_table_find(table, keyed_hash(&number, sizeof(number)));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct numbered *numbered = KEYED_ENTRY(node, struct numbered, link);
        if (numbered->number == number)
            return numbered;
    }
    return NULL;
}

static struct numbered *add(struct keyed_table *table, uint64_t number)
{
    struct numbered *numbered = calloc(1, sizeof(*numbered));

    VERIFY(numbered != NULL);
    numbered->number = number;
    keyed_table_insert(table, &numbered->link, keyed_hash(&number, sizeof(number)));
    return numbered;
}

/* One reference, or NULL for the broker. */
static struct principal *principal_of(struct router *r, const struct record_principal *record)
{
    if (record->kind == PRINCIPAL_BROKER)
        return NULL;
    return record->kind == PRINCIPAL_ANONYMOUS ? principal_get_anonymous(&r->principals)
                                               : principal_get(&r->principals, record->name);
}

/* The message that a record describes; one reference. */
static struct message *message_of(struct router *r, const struct record_message *record)
{
    struct message_fields fields = record->fields;

    fields.publisher = principal_of(r, &record->publisher);
    fields.epoch = 0; /* its right is decided anew: the policy may be another one by now */
    if (fields.id > r->last_message)
        r->last_message = fields.id;
    struct message *message = message_new(&fields);
    if (fields.publisher != NULL)
        principal_unref(fields.publisher);
    return message;
}

/* --- records as they come --- */

static bool take_retained(struct load *load, const struct pr_record *m)
{
    struct record_message record;

    if (!decode_retained(m->key, m->value, &record))
        return false;
    struct message *message = message_of(load->r, &record);
    retained_set(&load->r->retained, message);
    sweep_note(load->r, message);
    message_unref(message);
    return true;
}

static bool take_session(struct load *load, const struct pr_record *m)
{
    struct router *r = load->r;
    struct record_session record;

    if (!decode_session(m->key, m->value, &record) || find(&load->sessions, record.number) != NULL)
        return false;
    struct principal *principal = principal_of(r, &record.principal);
    bool taken = session_find(&r->sessions, principal, record.client_id) == NULL;
    if (taken) {
        struct numbered *numbered = add(&load->sessions, record.number);
        numbered->session =
            session_new(r, principal, record.client_id, record.expiry, record.number);
        numbered->session->stored = true;
        authorize_bind(r, numbered->session, record.listener);
        numbered->sent_through = record.sent_through;
        numbered->away_since = record.away_since;
        numbered->doubtful = record.away_since == 0 ? record.window : 0;
    }
    principal_unref(principal);
    return taken;
}

static bool take_message(struct load *load, const struct pr_record *m)
{
    struct record_message record;

    if (!decode_message(m->key, m->value, &record) ||
        find(&load->messages, record.fields.id) != NULL)
        return false;
    struct numbered *numbered = add(&load->messages, record.fields.id);
    numbered->message = message_of(load->r, &record);
    numbered->message->flags |= MESSAGE_STORED;
    return true;
}

/* Puts a record aside; its key starts with the session's number. */
static bool take_part(struct load *load, const struct pr_record *m)
{
    struct cursor key = cursor_of(m->key);

    if (m->key.len < sizeof(uint64_t))
        return false;
    struct part *part = malloc(sizeof(*part) + m->key.len + m->value.len);

    VERIFY(part != NULL);
    *part = (struct part){.session = cursor_u64(&key),
                          .key_size = m->key.len,
                          .value_size = m->value.len,
                          .kind = m->kind};
    if (m->kind == RECORD_QUEUED)
        part->sequence = cursor_u64(&key);
    memcpy(part->bytes, m->key.data, m->key.len);
    if (m->value.len > 0)
        memcpy(part->bytes + m->key.len, m->value.data, m->value.len);
    if (load->count == load->capacity) {
        load->capacity = load->capacity == 0 ? PARTS_MIN : load->capacity * 2;
        load->parts = reallocarray(load->parts, load->capacity, sizeof(struct part *));
        VERIFY(load->parts != NULL);
    }
    load->parts[load->count++] = part;
    return !key.failed;
}

bool load_record(struct load *load, const struct pr_record *m)
{
    bool understood;

    switch (m->kind) {
    case RECORD_RETAINED:
        understood = take_retained(load, m);
        break;
    case RECORD_SESSION:
        understood = take_session(load, m);
        break;
    case RECORD_MESSAGE:
        understood = take_message(load, m);
        break;
    case RECORD_SUBSCRIPTION:
    case RECORD_QUEUED:
    case RECORD_RECEIVED:
    case RECORD_WILL:
        understood = take_part(load, m);
        break;
    default:
        return m->kind == RECORD_HEALTH;
    }
    load->not_understood += !understood;
    return true;
}

/* --- putting it together --- */

static struct slice key_of(const struct part *part)
{
    return slice_of(part->bytes, part->key_size);
}

static struct slice value_of(const struct part *part)
{
    return slice_of(part->bytes + part->key_size, part->value_size);
}

static bool add_subscription(struct load *load, const struct numbered *owner,
                             const struct part *part)
{
    struct router *r = load->r;
    struct record_subscription record;

    if (!decode_subscription(key_of(part), value_of(part), &record))
        return false;
    const struct subscription *subscription = subscriptions_add(
        &r->subscriptions, &owner->session->subscriber, record.filter, &record.options, NULL);
    if (record.replaying > r->last_message)
        r->last_message = record.replaying;
    if (record.replaying != 0)
        replay_start(r, owner->session, record.filter, subscription, record.replaying);
    return true;
}

static bool add_received(struct load *load, const struct numbered *owner, const struct part *part)
{
    struct record_received record;

    (void)load;
    if (!decode_received(key_of(part), value_of(part), &record) ||
        received_has(owner->session->received, record.packet_id))
        return false;
    received_add(&owner->session->received, record.packet_id, true);
    return true;
}

/* The message of a queued record: one reference, or NULL when it is not there. */
static struct message *queued_message(struct load *load, const struct record_queued *record)
{
    if (record->body == BODY_INLINE)
        return message_of(load->r, &record->message);
    const struct numbered *numbered = find(&load->messages, record->message_id);
    if (numbered == NULL)
        return NULL;
    numbered->message->stored_references++;
    return message_ref(numbered->message);
}

/* The tag of the group that an entry was picked for; subscriptions are there already. */
static uint32_t group_of(struct load *load, const struct session *session, struct slice filter)
{
    const struct subscription *subscription =
        filter.len > 0 ? subscriptions_find(&load->r->subscriptions, &session->subscriber, filter)
                       : NULL;

    return subscription != NULL ? fanout_group_tag(subscription->group) : 0;
}

static bool add_queued(struct load *load, struct numbered *owner, const struct part *part)
{
    struct router *r = load->r;
    struct session *session = owner->session;
    struct record_queued record;
    uint32_t identifiers[UINT8_MAX];

    if (!decode_queued(key_of(part), value_of(part), &record))
        return false;
    if (session->outbound == NULL)
        session->outbound = outbound_new();
    struct outbound *out = session->outbound;
    if (record.sequence < out->next_sequence || record.sequence == UINT64_MAX)
        return false;
    if (record.state == OUT_RELEASED) {
        out->next_sequence = record.sequence;
        outbound_push_released(out);
        return true;
    }
    struct message *message = queued_message(load, &record);
    if (message == NULL)
        return false;
    out->next_sequence = record.sequence;
    if (record.identifier_count > 0)
        memcpy(identifiers, record.identifiers, record.identifier_count * sizeof(uint32_t));
    bool again = record.sequence < owner->sent_through || owner->doubtful > 0;
    owner->doubtful -= owner->doubtful > 0;
    uint8_t flags = (uint8_t)(record.flags | OUT_STORED | (again ? OUT_DUP : 0) |
                              (record.body == BODY_REFERENCE ? OUT_SHARED : 0));
    struct out_entry *entry =
        queue_push(r, session, message, record.qos, flags, identifiers, record.identifier_count);
    entry->group = group_of(load, session, record.share_filter);
    message_unref(message);
    return true;
}

/* The will of a session that was not kept: its client was lost with the broker, so it is published
 * now. A session of its own stands in for the one that is gone. */
static void fire_lost_will(struct load *load, const struct record_will *record,
                           struct principal *principal)
{
    struct router *r = load->r;
    struct slice id = record->client_id;

    if (session_find(&r->sessions, principal, id) != NULL) {
        load->orphans++;
        return;
    }
    struct session *session = session_new(r, principal, id, 0, record->session);
    authorize_bind(r, session, 0);
    session->will = will_restored(session, record, message_of(r, &record->message));
    session_end(r, session);
}

static bool add_will(struct load *load, const struct part *part)
{
    struct router *r = load->r;
    struct record_will record;

    if (!decode_will(key_of(part), value_of(part), &record))
        return false;
    const struct numbered *owner = find(&load->sessions, record.session);
    struct principal *principal = principal_of(r, &record.principal);
    if (owner == NULL) {
        fire_lost_will(load, &record, principal);
    } else {
        owner->session->will =
            will_restored(owner->session, &record, message_of(r, &record.message));
    }
    principal_unref(principal);
    return true;
}

/* A record that nobody will ask for any more. */
static void remove_orphan(struct load *load, const struct part *part)
{
    load->orphans++;
    persist_delete(load->r, (enum record_kind)part->kind, key_of(part));
}

static void add_part(struct load *load, const struct part *part)
{
    struct numbered *owner = find(&load->sessions, part->session);
    bool understood = false;

    if (part->kind == RECORD_WILL) {
        understood = add_will(load, part);
    } else if (owner == NULL) {
        remove_orphan(load, part);
        return;
    } else if (part->kind == RECORD_SUBSCRIPTION) {
        understood = add_subscription(load, owner, part);
    } else if (part->kind == RECORD_RECEIVED) {
        understood = add_received(load, owner, part);
    } else {
        understood = add_queued(load, owner, part);
    }
    load->not_understood += !understood;
}

/* Subscriptions first, wills last; queued messages of a session in their order. */
static int by_order(const void *a, const void *b)
{
    const struct part *left = *(struct part *const *)a;
    const struct part *right = *(struct part *const *)b;

    if (left->kind != right->kind)
        return (left->kind > right->kind) - (left->kind < right->kind);
    if (left->session != right->session)
        return (left->session > right->session) - (left->session < right->session);
    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

/* The clock went on while the broker was away. */
static void let_time_pass(struct router *r, struct numbered *numbered)
{
    struct session *session = numbered->session;
    bool was_away = numbered->away_since != 0;
    uint64_t lifetime = session_lifetime(session);
    uint64_t gone = was_away && r->wall > numbered->away_since ? r->wall - numbered->away_since : 0;

    if (lifetime <= gone) {
        session_end(r, session);
        return;
    }
    session_expire_after(r, session, lifetime == UINT64_MAX ? UINT64_MAX : lifetime - gone);
    if (!was_away)
        record_session(r, session);
    if (session->will != NULL && was_away) {
        will_resume(r, session);
    } else if (session->will != NULL) {
        will_client_gone(r, session, false);
    }
}

static void free_table(struct keyed_table *table, void (*visit)(struct load *, struct numbered *),
                       struct load *load)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, table);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct numbered *numbered = KEYED_ENTRY(node, struct numbered, link);
        visit(load, numbered);
        keyed_table_remove(table, &numbered->link);
        free(numbered);
    }
    keyed_table_free(table);
}

static void finish_session(struct load *load, struct numbered *numbered)
{
    let_time_pass(load->r, numbered);
}

static void finish_message(struct load *load, struct numbered *numbered)
{
    struct message *message = numbered->message;

    if (message->stored_references == 0) {
        load->orphans++;
        persist_delete(load->r, RECORD_MESSAGE, slice_of(&message->id, sizeof(message->id)));
        message->flags &= (uint8_t)~MESSAGE_STORED;
    }
    message_unref(message);
}

static void forget_session(struct load *load, struct numbered *numbered)
{
    (void)load;
    (void)numbered;
}

static void forget_message(struct load *load, struct numbered *numbered)
{
    (void)load;
    message_unref(numbered->message);
}

static void free_parts(struct load *load)
{
    for (size_t i = 0; i < load->count; i++)
        free(load->parts[i]);
    free(load->parts);
}

void load_end(struct load *load)
{
    if (load->count > 0)
        qsort(load->parts, load->count, sizeof(struct part *), by_order);
    for (size_t i = 0; i < load->count; i++)
        add_part(load, load->parts[i]);
    free_parts(load);
    free_table(&load->messages, finish_message, load);
    free_table(&load->sessions, finish_session, load);
    if (load->not_understood > 0) {
        log_error("%llu records of the store were not understood and are left alone",
                  (unsigned long long)load->not_understood);
    }
    if (load->orphans > 0) {
        log_notice("%llu records of the store belonged to nothing and were removed",
                   (unsigned long long)load->orphans);
    }
    free(load);
}

void load_abandon(struct load *load)
{
    free_parts(load);
    free_table(&load->messages, forget_message, load);
    free_table(&load->sessions, forget_session, load);
    free(load);
}
