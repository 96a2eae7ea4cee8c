/* The log of changes that are not committed: at random, against a plain list. */
#include "leaks.h"
#include "random.h"
#include "router/store/change_log.h"

TestSuite(change_log, .fini = leaks_check);

enum { CHANGES = 400, STEPS = 3000 };

/* One change as it must be: group is that of its transaction. */
struct expected {
    unsigned group;
    bool cancelled;
    bool handed;
};

static struct expected changes[CHANGES + 1];
static unsigned groups;

static void add(struct change_log *log, unsigned count)
{
    groups++;
    if (log->last + count > CHANGES)
        return;
    if (count > 1)
        change_log_begin(log);
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = log->last + 1;
        struct slice key = slice_of(&number, sizeof(number));
        if (count == 1 && random_below(4) == 0)
            change_log_delete(log, 1, key);
        else
            change_log_put(log, 1, key, slice_of(NULL, 0));
        cr_assert_eq(log->last, number);
        changes[number] = (struct expected){.group = groups};
    }
    if (count > 1)
        cr_assert_eq(change_log_end(log), count);
}

/* A put that is a transaction by itself and was not handed out can be taken back, nothing else. */
static void cancel(struct change_log *log)
{
    uint64_t number = random_below(log->last + 1);
    bool done = change_log_cancel(log, number);

    if (!done)
        return;
    cr_assert(!changes[number].handed && !changes[number].cancelled);
    cr_assert(number == 1 || changes[number - 1].group != changes[number].group);
    cr_assert(number == log->last || changes[number + 1].group != changes[number].group);
    changes[number].cancelled = true;
}

/* Takes one frame as persistd does; wire numbers have no gaps, transactions are whole. */
static void hand_out(struct change_log *log, uint64_t *wire, unsigned *open_group)
{
    struct slice frame = change_log_hand_out(log);
    struct frame_header header;
    uint64_t number;
    uint8_t more;
    struct rp_put put;
    struct rp_delete delete;

    if (frame.len == 0)
        return;
    memcpy(&header, frame.data, sizeof(header));
    struct slice body = slice_of(frame.data + sizeof(header), header.length);
    if (header.type == RP_PUT) {
        cr_assert(rp_put_decode(body, &put));
        memcpy(&number, put.key.data, sizeof(number));
        cr_assert(*wire == 0 || put.number == *wire + 1);
        *wire = put.number;
        more = put.more;
    } else {
        cr_assert(header.type == RP_DELETE && rp_delete_decode(body, &delete));
        memcpy(&number, delete.key.data, sizeof(number));
        cr_assert(*wire == 0 || delete.number == *wire + 1);
        *wire = delete.number;
        more = delete.more;
    }
    cr_assert(number > log->committed && !changes[number].cancelled);
    changes[number].handed = true;
    cr_assert(*open_group == 0 || *open_group == changes[number].group);
    *open_group = more ? changes[number].group : 0;
}

static void check(const struct change_log *log)
{
    for (uint64_t i = log->committed + 1; i <= log->last && !changes[i].cancelled; i++)
        return; /* the head is neither committed nor cancelled */
    cr_assert_eq(log->committed, log->last);
}

Test(change_log, at_random)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct change_log log;
        uint64_t wire = 0;
        uint64_t whole = 0; /* the last frame of a transaction that persistd has */
        unsigned open_group = 0;
        random_seed(seed);
        change_log_init(&log);
        memset(changes, 0, sizeof(changes));
        for (unsigned step = 0; step < STEPS; step++) {
            uint64_t before = log.committed;
            switch (random_below(8)) {
            case 0:
            case 1:
                add(&log, 1 + (unsigned)random_below(random_below(2) == 0 ? 4 : 1));
                break;
            case 2:
            case 3:
                cancel(&log);
                break;
            case 4:
                if (whole > 0)
                    cr_assert(change_log_commit(&log, whole));
                break;
            case 5:
                if (random_below(20) == 0 && open_group == 0) {
                    change_log_start_over(&log);
                    wire = whole = 0;
                }
                break;
            default:
                hand_out(&log, &wire, &open_group);
                whole = open_group == 0 && wire > whole ? wire : whole;
            }
            cr_assert_geq(log.committed, before);
            check(&log);
        }
        cr_assert(!change_log_commit(&log, log.wire_given + 1));
        change_log_free(&log);
    }
}
