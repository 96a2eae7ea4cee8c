/* What a store gives at start, and what it logs. */
#include "store_load.h"

#include "persistd/load.h"

#include "common/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 1 << 24 };

char log_text[16384];

static void collect(void *context, int level, struct slice text)
{
    size_t used = strlen(log_text);
    (void)context;
    (void)level;
    snprintf(log_text + used, sizeof(log_text) - used, "%.*s\n", SLICE_ARGS(text));
}

void log_collect(void)
{
    log_set_sink(collect, NULL);
}

static bool never(void *context, unsigned state, uint16_t type, struct slice body)
{
    (void)context;
    (void)state;
    (void)type;
    (void)body;
    return false;
}

bool store_load_all(struct store *store, bool refuse, uint64_t *damaged,
                    void (*note)(const struct pr_record *record, void *context), void *context)
{
    static const struct channel_handlers no_handlers = {.frame = never};
    struct channel channel;
    struct load load;
    int fds[2];

    log_text[0] = '\0';
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
    channel_open(&channel, loop, fds[0], ANSWER_MAX, &no_handlers, NULL);
    load_begin(&load, store, refuse);
    while (!load_step(&load, &channel))
        continue;
    bool good = load_end(&load, damaged);
    while (buf_len(&channel.out) > 0) {
        struct frame_header header;
        struct pr_record record;
        memcpy(&header, buf_head(&channel.out), sizeof(header));
        cr_assert(pr_record_decode(slice_of(buf_head(&channel.out) + sizeof(header), header.length),
                                   &record));
        note(&record, context);
        buf_consume(&channel.out, sizeof(header) + header.length);
    }
    channel_close(&channel);
    close(fds[1]);
    ev_loop_destroy(loop);
    return good;
}
