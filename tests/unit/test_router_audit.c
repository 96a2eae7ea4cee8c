/* The router's audit events on their way to the master: those of one turn together, in order, and
 * counted when the master does not take them. */
#include "common/child.h"
#include "leaks.h"
#include "router/audit.h"
#include "router/audit_text.h"
#include "router_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture f;
static struct child child;
static int master = -1; /* its end of the control channel */

/* The channel to the master; without it nothing is taken. */
static void open_channel(void)
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    control_open(&child.control, NULL, pair[0], NULL, NULL, NULL);
    master = pair[1];
}

static void begin(void)
{
    child = (struct child){.role = ROLE_ROUTER, .control.fd = -1};
    fixture_open(&f, NULL);
    f.r.child = &child;
}

static void end(void)
{
    fixture_close(&f);
    control_close(&child.control);
    if (master >= 0)
        close(master);
    leaks_check();
}

TestSuite(router_audit, .init = begin, .fini = end, .timeout = 60);

/* Clients come, all in one turn of the router: first to last. */
static void connect_many(unsigned first, unsigned last)
{
    char id[16];

    for (unsigned i = first; i <= last; i++) {
        snprintf(id, sizeof(id), "client-%u", i);
        PEER_SAY(&f.workers[0], wr_connect, .conn = handle_of(i, 1), .version = 4,
                 .flags = CONNECT_CLEAN_START, .receive_maximum = 1, .client_id = slice_text(id));
        PEER_SAY(&f.authd, ar_verdict, .conn = handle_of(i, 1), .flags = VERDICT_ANONYMOUS);
    }
    fixture_settle(&f);
}

/* The next message to the master; its events, borrowed until the next call. Empty: there is none.
 */
static struct slice next_events(void)
{
    static uint8_t packet[sizeof(struct frame_header) + CONTROL_BODY_MAX];
    struct frame_header header;
    struct cm_audit m;

    ssize_t got = recv(master, packet, sizeof(packet), MSG_DONTWAIT);
    if (got <= 0)
        return slice_of(NULL, 0);
    memcpy(&header, packet, sizeof(header));
    cr_assert_eq(header.type, CM_AUDIT);
    cr_assert(cm_audit_decode(slice_of(packet + sizeof(header), header.length), &m));
    return m.events;
}

/* Takes the events of clients that came from the front of the message; *number counts on. */
static void expect_connected(struct slice events, unsigned *number)
{
    char wanted[48];

    while (events.len > 0) {
        struct slice line = slice_take_line(&events);
        snprintf(wanted, sizeof(wanted), "\"client_id\":\"client-%u\"", (*number)++);
        cr_assert_not_null(memmem(line.data, line.len, wanted, strlen(wanted)), "%s in %.*s",
                           wanted, SLICE_ARGS(line));
        cr_assert(line.data[0] == '{' && line.data[line.len - 1] == '}');
    }
}

Test(router_audit, what_a_turn_does_is_one_message)
{
    unsigned number = 1;

    open_channel();
    connect_many(1, 5);
    expect_connected(next_events(), &number);
    cr_assert_eq(number, 6);
    cr_assert_eq(next_events().len, 0);
}

Test(router_audit, many_events_are_several_messages_in_order)
{
    unsigned number = 1;
    unsigned messages = 0;

    open_channel();
    connect_many(1, 400);
    for (struct slice events = next_events(); events.len > 0; events = next_events()) {
        cr_assert_leq(events.len, CONTROL_ARGUMENT_MAX);
        expect_connected(events, &number);
        messages++;
    }
    cr_assert_eq(number, 401);
    cr_assert(messages > 1 && messages < 40, "%u", messages);
}

Test(router_audit, events_that_the_master_does_not_take_are_counted)
{
    unsigned number = 8;

    connect_many(1, 7);
    open_channel();
    connect_many(8, 8);
    expect_connected(next_events(), &number);
    cr_assert_eq(number, 9);
    cr_assert(slice_is(next_events(), "{\"event\":\"audit_lost\",\"count\":7}"));
    cr_assert_eq(next_events().len, 0);
}

Test(router_audit, what_was_kept_back_is_told_at_the_end)
{
    open_channel();
    connect_many(1, 1);
    next_events();
    for (unsigned i = 0; i < 3; i++)
        audit_takeover(&f.r, router_connection(&f.r, 0, handle_of(1, 1))->session);
    audit_settle(&f.r);
    struct slice events = next_events();
    slice_take_line(&events);
    struct slice last = slice_take_line(&events);
    cr_assert_not_null(memmem(last.data, last.len, "\"count\":2", 9), "%.*s", SLICE_ARGS(last));
    cr_assert_eq(events.len, 0);
}

static void expect_text(struct slice text, const char *wanted)
{
    struct buf out = {0};

    audit_text_begin(&out, "x");
    audit_text_string(&out, "a", text);
    audit_text_end(&out);
    char line[128];
    snprintf(line, sizeof(line), "{\"event\":\"x\",\"a\":%s}\n", wanted);
    struct slice written = slice_of(buf_head(&out), buf_len(&out));
    cr_expect(slice_is(written, line), "%.*s", SLICE_ARGS(written));
    buf_free(&out);
}

Test(router_audit, a_clients_text_is_plain_ascii)
{
    expect_text(slice_text(""), "\"\"");
    expect_text(slice_of(NULL, 0), "\"\"");
    expect_text(slice_text("a b~{}'/,:"), "\"a b~{}'/,:\"");
    expect_text(slice_text("\"\\"), "\"\\\"\\\\\"");
    expect_text(slice_text("\n\x1b\x7f"), "\"\\u000A\\u001B\\u007F\"");
    expect_text(slice_text("\u00e4\u20ac\uffff"), "\"\\u00E4\\u20AC\\uFFFF\"");
    expect_text(slice_text("\U0001F600\U0010FFFFz"), "\"\\uD83D\\uDE00\\uDBFF\\uDFFFz\"");
    /* what is no UTF-8 could only be written as something else */
    expect_text(slice_text("a\xff"), "\"\"");
    expect_text(slice_text("\xed\xa0\x80"), "\"\"");
    expect_text(slice_of("a\0b", 3), "\"\"");
}

Test(router_audit, an_event_is_one_line_of_json)
{
    open_channel();
    PEER_SAY(&f.workers[0], wr_connect, .conn = handle_of(1, 1), .version = 4,
             .flags = CONNECT_CLEAN_START, .receive_maximum = 1, .client_id = slice_text("a\"b"),
             .address = slice_text("192.0.2.1:7"));
    PEER_SAY(&f.authd, ar_verdict, .conn = handle_of(1, 1), .principal = slice_text("ann"));
    fixture_settle(&f);
    struct slice events = next_events();
    cr_expect(slice_is(events, "{\"event\":\"connected\",\"user\":\"ann\",\"client_id\":\"a\\\"b\","
                               "\"address\":\"192.0.2.1:7\",\"proxied\":false,\"listener\":0,"
                               "\"version\":4,\"session_present\":false}\n"),
              "%.*s", SLICE_ARGS(events));
    audit_topic(&f.r, router_connection(&f.r, 0, handle_of(1, 1))->session, AUDIT_PUBLISH_DENIED,
                POLICY_PUBLISH, slice_text("t"));
    audit_send(&f.r);
    events = next_events();
    cr_expect_not_null(memmem(events.data, events.len, "\"topic\":\"t\",\"rule\":\"", 20));
    cr_expect_not_null(memmem(events.data, events.len, "\",\"count\":1}\n", 13));
}
