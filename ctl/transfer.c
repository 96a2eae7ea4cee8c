/* bulkheadctl store export and import: the stream to the router, whose messages are as little
 * trusted as those between any two processes. */
#include "ctl/transfer.h"

#include "ctl/retained_json.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    OUT_HIGH = 1024 * 1024,
    REFUSALS_SHOWN = 20,
    BODY_MAX = 600 * 1024 * 1024, /* two of the greatest blobs, and the rest */
    LINE_BYTES_MAX = 2 * (int)(MQTT_PACKET_MAX / 3) * 4 + 1024 * 1024, /* in base64 */
};

struct transfer {
    int fd;
    struct buf in;
    struct buf out;
    FILE *file;  /* an export's */
    bool done;   /* the router said so */
    bool failed; /* the reason was printed */
    uint64_t messages;
    struct ro_imported result;
};

/* --- what the router says --- */

static bool on_ro_retained(struct transfer *t, const struct ro_retained *m)
{
    const struct or_retain message = {.qos = m->qos,
                                      .named = m->named,
                                      .arrival = m->arrival,
                                      .expires = m->expires,
                                      .topic = m->topic,
                                      .publisher = m->publisher,
                                      .client_id = m->client_id,
                                      .properties = m->properties,
                                      .payload = m->payload};
    if (t->file == NULL)
        return false;
    t->messages++;
    if (!t->failed && !retained_json_write(t->file, &message)) {
        ctl_fail("the file cannot be written: %s", strerror(errno));
        t->failed = true;
    }
    return true;
}

static bool on_ro_end(struct transfer *t, const struct ro_end *m)
{
    t->done = true;
    return t->file != NULL && m->messages == t->messages;
}

static bool on_ro_refused(struct transfer *t, const struct ro_refused *m)
{
    if (t->file != NULL || m->number == 0 || m->number > t->messages)
        return false;
    if (++t->result.refused <= REFUSALS_SHOWN)
        ctl_fail("message %llu: %.*s", (unsigned long long)m->number, SLICE_ARGS(m->reason));
    return true;
}

static bool on_ro_imported(struct transfer *t, const struct ro_imported *m)
{
    t->done = true;
    t->result = *m;
    return t->file == NULL;
}

MESSAGE_DISPATCH(on_frame, struct transfer, ROUTER_TO_OPERATOR)

/* --- the stream --- */

static bool broken(struct transfer *t, const char *why)
{
    if (!t->failed)
        ctl_fail("the stream to the broker broke: %s", why);
    t->failed = true;
    return false;
}

static bool handle_frames(struct transfer *t)
{
    struct frame_header header;

    while (buf_len(&t->in) >= sizeof(header)) {
        memcpy(&header, buf_head(&t->in), sizeof(header));
        if (header.length > BODY_MAX || header.reserved != 0)
            return broken(t, "a malformed message");
        if (buf_len(&t->in) < sizeof(header) + header.length)
            break;
        struct slice body = slice_of(buf_head(&t->in) + sizeof(header), header.length);
        if (!on_frame(t, CHANNEL_RUNNING, header.type, body))
            return broken(t, "an unexpected message");
        buf_consume(&t->in, sizeof(header) + header.length);
    }
    return true;
}

static bool receive(struct transfer *t)
{
    ssize_t got = recv(t->fd, buf_reserve(&t->in, READ_SIZE), READ_SIZE, 0);

    if (got == 0)
        return t->done || broken(t, "the router ended it");
    if (got < 0)
        return errno == EAGAIN || errno == EINTR || broken(t, strerror(errno));
    buf_commit(&t->in, (size_t)got);
    return handle_frames(t);
}

static bool transmit(struct transfer *t)
{
    ssize_t sent = send(t->fd, buf_head(&t->out), buf_len(&t->out), MSG_NOSIGNAL);

    if (sent < 0)
        return errno == EAGAIN || errno == EINTR || broken(t, strerror(errno));
    buf_consume(&t->out, (size_t)sent);
    return true;
}

/* Waits until the stream moves, and moves it. */
static bool pump(struct transfer *t)
{
    short wanted = (short)(POLLIN | (buf_len(&t->out) > 0 ? POLLOUT : 0));
    struct pollfd entry = {.fd = t->fd, .events = wanted};

    if (poll(&entry, 1, -1) < 0)
        return errno == EINTR || broken(t, strerror(errno));
    if ((entry.revents & POLLOUT) != 0 && !transmit(t))
        return false;
    return (entry.revents & (POLLIN | POLLHUP | POLLERR)) == 0 || receive(t);
}

/* Makes the stream and hands the router its end. */
static bool open_stream(const struct ctl *ctl, struct transfer *t, const char *verb,
                        const char *argument)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        ctl_fail("socketpair: %s", strerror(errno));
        return false;
    }
    char *answer = ctl_ask(ctl, verb, argument, ends[1]);
    bool good = answer != NULL;
    free(answer);
    close(ends[1]);
    t->fd = ends[0];
    return good;
}

static void close_stream(struct transfer *t)
{
    if (t->fd >= 0)
        close(t->fd);
    buf_free(&t->in);
    buf_free(&t->out);
}

int transfer_export(const struct ctl *ctl, FILE *out)
{
    struct transfer t = {.fd = -1, .file = out};

    bool good = open_stream(ctl, &t, "store-export", "");
    while (good && !t.done)
        good = pump(&t);
    close_stream(&t);
    if (!good || t.failed)
        return CTL_FAILED;
    fprintf(stderr, "%llu retained messages exported\n", (unsigned long long)t.messages);
    return CTL_GOOD;
}

/* --- import --- */

/* Reads a line without its end; false at the end of the file, or when it is longer than any message
 * can be. */
static bool read_line(FILE *in, struct buf *line, bool *too_long)
{
    buf_consume(line, buf_len(line));
    for (int c = getc_unlocked(in); c != EOF; c = getc_unlocked(in)) {
        if (c == '\n')
            return true;
        if (buf_len(line) == LINE_BYTES_MAX) {
            *too_long = true;
            return false;
        }
        *buf_reserve(line, 1) = (uint8_t)c;
        buf_commit(line, 1);
    }
    return buf_len(line) > 0;
}

struct line_reader {
    FILE *in;
    const struct import_options *options;
    struct buf line;
    struct buf text;
};

/* Reads the next message and hands it on; *end at the end of the file. */
static bool import_one(struct transfer *t, struct line_reader *reader, bool *end)
{
    struct or_retain message;
    bool too_long = false;
    char why[160] = "longer than any message can be";

    *end = !read_line(reader->in, &reader->line, &too_long);
    if (*end && !too_long)
        return ferror(reader->in) == 0 || broken(t, strerror(errno));
    t->messages++;
    if (too_long ||
        !retained_json_read((const char *)buf_head(&reader->line), buf_len(&reader->line),
                            &reader->text, &message, why, sizeof(why))) {
        ctl_fail("line %llu: %s; the lines before it were imported",
                 (unsigned long long)t->messages, why);
        t->failed = true;
        return false;
    }
    if (!message.named && reader->options->as != NULL) {
        message.named = 1;
        message.publisher = slice_text(reader->options->as);
    }
    or_retain_encode(&t->out, &message);
    return true;
}

static bool import_all(struct transfer *t, struct line_reader *reader)
{
    bool end = false;
    bool whole = true;

    while (!end && whole) {
        whole = import_one(t, reader, &end);
        while (buf_len(&t->out) > OUT_HIGH) {
            if (!pump(t))
                return false;
        }
    }
    or_end_encode(&t->out, &(struct or_end){});
    while (!t->done) {
        if (!pump(t))
            return false;
    }
    return whole;
}

static int report(const struct transfer *t)
{
    const struct ro_imported *result = &t->result;

    printf("%llu retained messages imported\n", (unsigned long long)result->taken);
    if (result->left > 0)
        printf("%llu topics have a message already and were left alone (--replace takes their "
               "place)\n",
               (unsigned long long)result->left);
    if (result->refused > 0)
        printf("%llu messages were refused%s\n", (unsigned long long)result->refused,
               result->refused > REFUSALS_SHOWN ? "; the first are listed above" : "");
    return result->refused == 0 && !t->failed ? CTL_GOOD : CTL_FAILED;
}

int transfer_import(const struct ctl *ctl, FILE *in, const struct import_options *options)
{
    struct transfer t = {.fd = -1};
    struct line_reader reader = {.in = in, .options = options};

    bool good = open_stream(ctl, &t, "store-import", options->replace ? "replace" : "");
    if (good)
        import_all(&t, &reader);
    close_stream(&t);
    buf_free(&reader.line);
    buf_free(&reader.text);
    return good && t.done ? report(&t) : CTL_FAILED;
}
