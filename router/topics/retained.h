/* Retained messages, in a trie by topic level. The store is kept in memory only; who changes it
 * also tells the store on disk. Expiry is the caller's: it looks at a message before using it. */
#ifndef BULKHEAD_ROUTER_TOPICS_RETAINED_H
#define BULKHEAD_ROUTER_TOPICS_RETAINED_H

#include "router/messages/message.h"
#include "router/topics/topic_trie.h"

struct retained_store {
    struct topic_trie trie;
    uint64_t count;
    uint64_t bytes;   /* message_size() of all */
    uint32_t cursors; /* that exist */
};

void retained_init(struct retained_store *store);

/* Drops all messages and frees the store; there are no cursors any more. */
void retained_free(struct retained_store *store);

/* Keeps message, with a reference of its own, instead of what was kept for its topic; the payload
 * is not empty (that clears) [MQTT-3.3.1-5]. Its publisher's usage counts it. True: there was one
 * before. */
bool retained_set(struct retained_store *store, struct message *message);

/* Drops the message of topic [MQTT-3.3.1-6]. False: there is none. */
bool retained_clear(struct retained_store *store, struct slice topic);

/* The message of topic, borrowed, or NULL. */
struct message *retained_get(const struct retained_store *store, struct slice topic);

/* A walk over the messages that match a filter, taken up again and again so that replay is paced;
 * the store may change between the steps. A message that is there all the time comes exactly once,
 * one that is added or replaced meanwhile comes or not. */
struct retained_cursor;

/* A cursor for filter (plain and valid), or over the whole store, $-topics included, when filter is
 * empty. Owned by the caller. */
struct retained_cursor *retained_cursor_new(struct retained_store *store, struct slice filter);
void retained_cursor_free(struct retained_cursor *cursor);

/* The next messages, borrowed until the store changes, at most room of them; returns how many.
 * Looks at no more than steps nodes (at least one), so the answer can be 0 before the end. */
size_t retained_cursor_next(struct retained_cursor *cursor, struct message **messages, size_t room,
                            size_t steps);

/* Whether the walk is over. */
bool retained_cursor_done(const struct retained_cursor *cursor);

#endif
