/* Password files, stored forms, the credential cache and the throttle. */
#include "authd/cache.h"
#include "authd/throttle.h"
#include "authd/users.h"
#include "common/password.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>

/* As mosquitto_passwd writes them, for the password "secret". */
#define STORED_7                                                                                   \
    "$7$101$ZwEex0SvwhWgGjOM$R2LJaQgMu3nrl2HCnRIVFoPgi4WvMmBAPLYf96ZURQolKhCEHfJtyoOgKJmroq+"      \
    "hA6l1BPijR++TzxtyO/8MYA=="
#define STORED_6                                                                                   \
    "$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/"                          \
    "JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw=="

static char *argon(const char *password)
{
    static char stored[crypto_pwhash_STRBYTES];
    cr_assert_eq(crypto_pwhash_str(stored, password, strlen(password), crypto_pwhash_OPSLIMIT_MIN,
                                   crypto_pwhash_MEMLIMIT_MIN),
                 0);
    return stored;
}

static struct users *parse(const char *text, char *why, size_t size)
{
    why[0] = '\0';
    return users_parse(strdup(text), strlen(text), slice_text("passwd"), why, size);
}

TestSuite(identity, .init = password_prepare, .timeout = 60);

Test(identity, every_form_verifies_its_password_and_no_other)
{
    const char *forms[] = {STORED_7, STORED_6, argon("secret")};

    for (size_t i = 0; i < 3; i++) {
        cr_assert(password_stored_valid(forms[i]), "%s", forms[i]);
        cr_assert(password_verify(forms[i], slice_text("secret")), "%s", forms[i]);
        cr_assert_not(password_verify(forms[i], slice_text("Secret")));
        cr_assert_not(password_verify(forms[i], slice_text("")));
    }
    cr_assert_not(password_verify(password_of_nobody(), slice_text("")));
}

Test(identity, unknown_and_broken_forms_are_refused)
{
    static const char *const bad[] = {"",
                                      "secret",
                                      "$1$abc$def",
                                      "$7$",
                                      "$7$0$AAAA$AAAA",
                                      "$7$-1$AAAA$AAAA",
                                      "$7$101$!!!$AAAA",
                                      "$6$AAAA",
                                      "$6$AAAA$AAAA",
                                      "$argon2id$v=19$m=8",
                                      "$argon2id$"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(password_stored_valid(bad[i]), "%s", bad[i]);
}

Test(identity, a_file_is_read)
{
    char why[256];
    struct users *users =
        parse("# people\n\nann:" STORED_7 "\r\nbob:" STORED_6 "\n", why, sizeof(why));

    cr_assert_not_null(users, "%s", why);
    cr_assert_str_eq(users_find(users, slice_text("ann"))->stored, STORED_7);
    cr_assert_not_null(users_find(users, slice_text("bob")));
    cr_assert_null(users_find(users, slice_text("an")));
    cr_assert_null(users_find(users, slice_text("# people")));
    users_free(users);
}

Test(identity, one_bad_line_refuses_the_file_and_is_named)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"ann:" STORED_7 "\nbob\n", "passwd:2: the line is not"},
        {":" STORED_7 "\n", "passwd:1: the line is not"},
        {"ann:plain\n", "passwd:1: the line has a password hash of no known form"},
        {"ann:" STORED_7 "\nann:" STORED_6 "\n", "passwd:2: the line names a user for the second"},
        {"a\xff:" STORED_7 "\n", "passwd:1: the line has a name that is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char why[256];
        cr_assert_null(parse(cases[i].text, why, sizeof(why)));
        cr_assert(strstr(why, cases[i].says) != NULL, "%s", why);
    }
    char why[256];
    cr_assert_null(parse("\n\r\n\n", why, sizeof(why)));
    cr_assert(strstr(why, "is empty") != NULL, "%s", why);
    struct users *nobody = parse("# nobody\n", why, sizeof(why));
    cr_assert_not_null(nobody, "a comment says that it is meant");
    users_free(nobody);
    char *text = calloc(1, 8);
    cr_assert_null(users_parse(text, 7, slice_text("passwd"), why, sizeof(why)));
}

Test(identity, unknown_names_are_checked_like_known_ones)
{
    char text[4096] = "";
    char why[256];
    unsigned sevens = 0;

    for (unsigned i = 0; i < 10; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "u%u:%s\n", i, i % 2 == 0 ? STORED_7 : STORED_6);
    }
    struct users *users = parse(text, why, sizeof(why));
    for (unsigned i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "nobody-%u", i);
        const char *stored = users_stand_in(users, slice_text(name));
        cr_assert_eq(users_stand_in(users, slice_text(name)), stored);
        sevens += strcmp(stored, STORED_7) == 0;
    }
    cr_assert(sevens > 50 && sevens < 150, "as often as the file has it: %u", sevens);
    users_free(users);
    users = parse("# none\n", why, sizeof(why));
    cr_assert_null(users_stand_in(users, slice_text("x")));
    users_free(users);
}

Test(identity, the_cache_knows_what_was_verified_for_its_time)
{
    struct credential_cache cache;
    struct slice ann = slice_text("ann");
    struct slice password = slice_text("secret");

    cache_init(&cache, 60);
    cr_assert_not(cache_knows(&cache, 0, ann, STORED_7, password));
    cache_add(&cache, 0, ann, STORED_7, password);
    cr_assert(cache_knows(&cache, 59, ann, STORED_7, password));
    cr_assert_not(cache_knows(&cache, 59, ann, STORED_6, password), "the stored hash changed");
    cr_assert_not(cache_knows(&cache, 59, slice_text("bob"), STORED_7, password));
    cr_assert_not(cache_knows(&cache, 59, ann, STORED_7, slice_text("other")));
    cr_assert_not(cache_knows(&cache, 61, ann, STORED_7, password));
    cr_assert_eq(cache.table.count, 0);
}

Test(identity, a_cache_without_life_keeps_nothing)
{
    struct credential_cache cache;
    cache_init(&cache, 0);
    cache_add(&cache, 0, slice_text("a"), STORED_7, slice_text("b"));
    cr_assert_not(cache_knows(&cache, 0, slice_text("a"), STORED_7, slice_text("b")));
}

Test(identity, failures_delay_their_address_and_user_only)
{
    struct throttle throttle;
    struct slice ann = slice_text("ann");

    throttle_init(&throttle, 0.5, 0, 0);
    cr_assert_eq(throttle_delay(&throttle, 0, THROTTLE_USER, ann), 0);
    throttle_failed(&throttle, 0, THROTTLE_USER, ann);
    cr_assert_float_eq(throttle_delay(&throttle, 0, THROTTLE_USER, ann), 0.5, 1e-9);
    cr_assert_eq(throttle_delay(&throttle, 0, THROTTLE_ADDRESS, ann), 0);
    cr_assert_eq(throttle_delay(&throttle, 0, THROTTLE_USER, slice_text("bob")), 0);
    cr_assert_eq(throttle_delay(&throttle, 0.6, THROTTLE_USER, ann), 0);
    throttle_failed(&throttle, 1, THROTTLE_USER, ann);
    cr_assert_float_eq(throttle_delay(&throttle, 1, THROTTLE_USER, ann), 1.0, 1e-9);
    for (int i = 0; i < 20; i++)
        throttle_failed(&throttle, 1, THROTTLE_USER, ann);
    cr_assert_leq(throttle_delay(&throttle, 1, THROTTLE_USER, ann), 8.0, "bounded");
    cr_assert_eq(throttle_delay(&throttle, 1000, THROTTLE_USER, ann), 0, "forgotten");
}

Test(identity, failures_are_forgotten_though_somebody_goes_on_failing)
{
    struct throttle throttle;
    struct slice ann = slice_text("ann");
    struct slice eve = slice_text("eve");

    throttle_init(&throttle, 0.5, 0, 0);
    throttle_failed(&throttle, 0, THROTTLE_USER, eve);
    for (int i = 0; i < 4; i++)
        throttle_failed(&throttle, 0, THROTTLE_USER, ann);
    for (int now = 100; now <= 400; now += 100)
        throttle_failed(&throttle, now, THROTTLE_USER, eve);
    throttle_failed(&throttle, 400, THROTTLE_USER, ann);
    cr_assert_float_eq(throttle_delay(&throttle, 400, THROTTLE_USER, ann), 0.5, 1e-9);
    cr_assert_float_eq(throttle_delay(&throttle, 400, THROTTLE_USER, eve), 8, 1e-9);
}

Test(identity, the_flood_of_failures_takes_the_place_of_the_oldest)
{
    struct throttle throttle;
    struct slice ann = slice_text("ann");

    throttle_init(&throttle, 4, 0, 0);
    throttle_failed(&throttle, 0, THROTTLE_USER, ann);
    for (uint32_t i = 0; i < 70000; i++) {
        if (i == 65000)
            throttle_failed(&throttle, 2, THROTTLE_USER, ann);
        throttle_failed(&throttle, i < 65000 ? 1 : 3, THROTTLE_USER, slice_of(&i, sizeof(i)));
    }
    cr_assert_float_eq(throttle_delay(&throttle, 3, THROTTLE_USER, ann), 7, 1e-9, "failed lately");
    uint32_t first = 0;
    cr_assert_eq(throttle_delay(&throttle, 3, THROTTLE_USER, slice_of(&first, sizeof(first))), 0);
}

Test(identity, the_bucket_admits_its_rate)
{
    struct throttle throttle;
    int admitted = 0;

    throttle_init(&throttle, 0.5, 10, 0);
    for (int i = 0; i < 100; i++)
        admitted += throttle_admit(&throttle, 0);
    cr_assert_eq(admitted, 20);
    for (int i = 0; i < 100; i++)
        admitted += throttle_admit(&throttle, 1);
    cr_assert_eq(admitted, 30);
}
