/* Messages and the principals that they refer to. */
#include "router/access/principal.h"
#include "router/messages/message.h"
#include "tests/unit/leaks.h"

#include <criterion/criterion.h>

/* cppcheck-suppress unknownMacro */
TestSuite(message, .fini = leaks_check);
TestSuite(principal, .fini = leaks_check);

Test(message, holds_copies_of_all_parts)
{
    char topic[] = "a/b";
    char payload[] = "payload";
    struct message *message = message_new(&(struct message_fields){
        .topic = slice_text(topic),
        .properties = slice_of("\x01\x00", 2),
        .payload = slice_text(payload),
        .id = 42,
        .arrival = 1000,
        .expiry = 2000,
        .qos = 2,
        .flags = MESSAGE_RETAINED,
    });

    topic[0] = payload[0] = '!';
    cr_assert(slice_is(message_topic(message), "a/b"));
    cr_assert(slice_is(message_payload(message), "payload"));
    cr_assert(slice_equal(message_properties(message), slice_of("\x01\x00", 2)));
    cr_assert_eq(message_size(message), 3 + 2 + 7);
    cr_assert_eq(message->id, 42);
    cr_assert_eq(message->qos, 2);
    cr_assert_not(message_expired(message, 1999));
    cr_assert(message_expired(message, 2000));
    cr_assert_eq(message_ref(message), message);
    message_unref(message);
    cr_assert(slice_is(message_topic(message), "a/b"));
    message_unref(message);
}

Test(message, without_properties_payload_or_expiry)
{
    struct message *message = message_new(&(struct message_fields){.topic = slice_text("t")});

    cr_assert_eq(message_payload(message).len, 0);
    cr_assert_eq(message_properties(message).len, 0);
    cr_assert_not(message_expired(message, UINT64_MAX));
    message_unref(message);
}

Test(message, keeps_its_publisher)
{
    struct principals principals;
    principals_init(&principals);
    struct principal *alice = principal_get(&principals, slice_text("alice"));
    struct message *message =
        message_new(&(struct message_fields){.topic = slice_text("t"), .publisher = alice});

    principal_unref(alice);
    cr_assert_eq(principal_find(&principals, slice_text("alice")), alice);
    message_unref(message);
    cr_assert_null(principal_find(&principals, slice_text("alice")));
    principals_free(&principals);
}

Test(principal, is_one_for_each_name)
{
    struct principals principals;
    principals_init(&principals);
    struct principal *alice = principal_get(&principals, slice_text("alice"));
    struct principal *bob = principal_get(&principals, slice_text("bob"));

    cr_assert_neq(alice, bob);
    cr_assert_eq(principal_get(&principals, slice_text("alice")), alice);
    cr_assert(slice_is(principal_name(alice), "alice"));
    principal_unref(alice);
    principal_unref(alice);
    principal_unref(bob);
    principals_free(&principals);
}

Test(principal, anonymous_is_not_the_one_with_an_empty_name)
{
    struct principals principals;
    principals_init(&principals);
    struct principal *anonymous = principal_get_anonymous(&principals);
    struct principal *empty = principal_get(&principals, slice_text(""));

    cr_assert_neq(anonymous, empty);
    cr_assert_eq(principal_find(&principals, slice_text("")), empty);
    cr_assert(anonymous->anonymous);
    principal_unref(anonymous);
    principal_unref(empty);
    principals_free(&principals);
}
