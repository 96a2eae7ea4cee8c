/* Changes of the store that are not committed yet. */
#include "router/store/change_log.h"

#include "common/verify.h"

enum {
    FRAMES_KEPT = 4 * 1024 * 1024, /* memory of an empty log */
    PLACES_KEPT = 64 * 1024,
    TAKEN_BACK = 0, /* instead of a frame's type */
};

/* What both kinds of frames start with. */
struct change {
    struct frame_header header;
    uint64_t wire_number; /* 0: not handed out yet */
    uint8_t more;
} __attribute__((packed));

void change_log_init(struct change_log *log)
{
    *log = (struct change_log){.next = 1};
}

void change_log_free(struct change_log *log)
{
    buf_free(&log->frames);
    buf_free(&log->places);
}

static size_t frame_size(const struct change *change)
{
    return sizeof(struct frame_header) + change->header.length;
}

/* The frame of a change that is in the log. */
static struct change *change_of(struct change_log *log, uint64_t number)
{
    uint64_t place;

    VERIFY(number > log->committed && number <= log->last);
    memcpy(&place, buf_head(&log->places) + (number - log->committed - 1) * sizeof(place),
           sizeof(place));
    return (struct change *)(void *)(buf_head(&log->frames) + (place - log->consumed));
}

/* --- adding --- */

static void before_change(struct change_log *log)
{
    uint64_t place = log->consumed + buf_len(&log->frames);

    buf_append(&log->places, &place, sizeof(place));
    log->last++;
    log->transaction_changes++;
}

void change_log_put(struct change_log *log, uint8_t kind, struct slice key, struct slice value)
{
    before_change(log);
    rp_put_encode(
        &log->frames,
        &(struct rp_put){.more = log->transaction > 0, .kind = kind, .key = key, .value = value});
}

void change_log_delete(struct change_log *log, uint8_t kind, struct slice key)
{
    before_change(log);
    rp_delete_encode(&log->frames,
                     &(struct rp_delete){.more = log->transaction > 0, .kind = kind, .key = key});
}

void change_log_begin(struct change_log *log)
{
    if (log->transaction++ == 0)
        log->transaction_changes = 0;
}

unsigned change_log_end(struct change_log *log)
{
    VERIFY(log->transaction > 0);
    if (--log->transaction > 0 || log->transaction_changes == 0)
        return 0;
    change_of(log, log->last)->more = 0;
    return log->transaction_changes;
}

/* --- leaving --- */

/* Lets go of the changes at the head that are on disk or were taken back. */
static void trim(struct change_log *log, uint64_t wire_number)
{
    while (log->committed < log->last) {
        const struct change *change = change_of(log, log->committed + 1);
        bool done = change->header.type == TAKEN_BACK ||
                    (change->wire_number != 0 && change->wire_number <= wire_number);
        if (!done)
            break;
        size_t size = frame_size(change);
        buf_consume(&log->frames, size);
        buf_consume(&log->places, sizeof(uint64_t));
        log->consumed += size;
        log->committed++;
    }
    if (log->next <= log->committed)
        log->next = log->committed + 1;
    buf_shrink(&log->frames, FRAMES_KEPT);
    buf_shrink(&log->places, PLACES_KEPT);
}

bool change_log_cancel(struct change_log *log, uint64_t number)
{
    if (number <= log->handed || number <= log->committed)
        return false;
    struct change *change = change_of(log, number);
    bool alone = !change->more && (number == log->committed + 1 ||
                                   change_of(log, number - 1)->header.type == TAKEN_BACK ||
                                   !change_of(log, number - 1)->more);
    if (!alone || change->header.type != RP_PUT)
        return false;
    change->header.type = TAKEN_BACK;
    trim(log, 0);
    return true;
}

struct slice change_log_hand_out(struct change_log *log)
{
    while (log->next <= log->last) {
        uint64_t number = log->next++;
        struct change *change = change_of(log, number);
        if (change->header.type == TAKEN_BACK)
            continue;
        if (change->wire_number == 0)
            change->wire_number = ++log->wire_last;
        log->wire_given = change->wire_number;
        if (number > log->handed)
            log->handed = number;
        return slice_of(change, frame_size(change));
    }
    return slice_of(NULL, 0);
}

void change_log_start_over(struct change_log *log)
{
    log->next = log->committed + 1;
    log->wire_given = 0;
}

bool change_log_commit(struct change_log *log, uint64_t wire_number)
{
    if (wire_number > log->wire_given)
        return false;
    trim(log, wire_number);
    return true;
}
