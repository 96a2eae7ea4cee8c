/* Subscriptions: who matches what, compared with a naive model under random churn, with the cache
 * on all the time. */
#include "common/limits.h"
#include "common/topic.h"
#include "router/access/principal.h"
#include "router/topics/subscriptions.h"
#include "tests/unit/leaks.h"
#include "tests/unit/topic_random.h"

#include <criterion/criterion.h>

/* cppcheck-suppress unknownMacro */
TestSuite(subscriptions, .fini = leaks_check);

struct session {
    struct subscriber subscriber;
};

struct world {
    struct subscriptions store;
    struct principals principals;
    struct principal *principal;
};

static void world_init(struct world *world)
{
    subscriptions_init(&world->store, 64, 1 << 20);
    principals_init(&world->principals);
    world->principal = principal_get(&world->principals, slice_text("alice"));
}

static void world_free(struct world *world)
{
    cr_assert_eq(world->store.count, 0);
    cr_assert_eq(world->store.shared, 0);
    cr_assert_eq(world->store.trie.nodes.count, 0);
    cr_assert_eq(world->principal->usage.subscriptions, 0);
    cr_assert_eq(world->principal->usage.subscription_bytes, 0);
    subscriptions_free(&world->store);
    principal_unref(world->principal);
    principals_free(&world->principals);
}

static void session_init(struct world *world, struct session *session)
{
    *session = (struct session){.subscriber = {.principal = world->principal}};
    session->subscriber.session = session;
}

static struct subscription *add(struct world *world, struct session *session, const char *filter,
                                struct subscription_options options)
{
    return subscriptions_add(&world->store, &session->subscriber, slice_text(filter), &options,
                             NULL);
}

static uint32_t match_count(struct world *world, const char *topic)
{
    const struct match_set *set = subscriptions_match(&world->store, slice_text(topic));

    subscriptions_match_end(&world->store);
    return set->count;
}

static void assert_matches(const char *filter, const char *topic, bool expected)
{
    struct world world;
    struct session session;
    world_init(&world);
    session_init(&world, &session);

    add(&world, &session, filter, (struct subscription_options){0});
    cr_assert_eq(match_count(&world, topic), expected ? 1 : 0, "%s on %s", filter, topic);
    subscriptions_remove_all(&world.store, &session.subscriber);
    cr_assert_eq(match_count(&world, topic), 0);
    world_free(&world);
}

Test(subscriptions, wildcards)
{
    assert_matches("a/b", "a/b", true);
    assert_matches("a/b", "a/b/c", false);
    assert_matches("a/b/c", "a/b", false);
    assert_matches("#", "a", true);
    assert_matches("#", "/", true);
    assert_matches("a/#", "a", true);
    assert_matches("a/#", "a/b/c", true);
    assert_matches("a/#", "ab", false);
    assert_matches("+", "a", true);
    assert_matches("+", "/a", false);
    assert_matches("+/+", "/a", true);
    assert_matches("/+", "/a", true);
    assert_matches("a/+", "a", false);
    assert_matches("a/+", "a/", true);
    assert_matches("a/+/c", "a/b/c", true);
    assert_matches("+/#", "a", true);
    assert_matches("a//b", "a/b", false);
}

Test(subscriptions, leading_wildcards_do_not_match_dollar_topics)
{
    assert_matches("#", "$SYS/x", false);
    assert_matches("+/x", "$SYS/x", false);
    assert_matches("+/#", "$SYS/x", false);
    assert_matches("$SYS/#", "$SYS/x", true);
    assert_matches("$SYS/+", "$SYS/x", true);
    assert_matches("$SYS/x", "$SYS/x", true);
    assert_matches("a/+", "a/$x", true);
}

Test(subscriptions, as_many_levels_as_there_may_be)
{
    char topic[2 * TOPIC_LEVELS_MAX];
    char filter[2 * TOPIC_LEVELS_MAX];
    for (size_t i = 0; i < sizeof(topic); i += 2) {
        topic[i] = 'a';
        filter[i] = '+';
        topic[i + 1] = filter[i + 1] = '/';
    }
    topic[sizeof(topic) - 1] = filter[sizeof(filter) - 1] = '\0';

    assert_matches(topic, topic, true);
    assert_matches(filter, topic, true);
    filter[sizeof(filter) - 2] = '#';
    assert_matches(filter, topic, true);
    assert_matches("#", topic, true);
}

Test(subscriptions, new_options_replace_the_old_ones)
{
    struct world world;
    struct session session;
    bool existed;
    world_init(&world);
    session_init(&world, &session);

    struct subscription *first =
        add(&world, &session, "a/#", (struct subscription_options){.qos = 1, .identifier = 3});
    for (int i = 0; i < 3; i++)
        cr_assert_eq(match_count(&world, "a/b"), 1);
    struct subscription_options options = {.qos = 2, .identifier = 9, .retain_handling = 2};
    cr_assert_eq(
        subscriptions_add(&world.store, &session.subscriber, slice_text("a/#"), &options, &existed),
        first);
    cr_assert(existed);
    const struct match_set *set = subscriptions_match(&world.store, slice_text("a/b"));
    cr_assert_eq(set->count, 1);
    cr_assert_eq(set->matches[0].qos, 2);
    cr_assert_eq(set->matches[0].identifier, 9);
    subscriptions_match_end(&world.store);
    cr_assert_eq(first->retain_handling, 2);
    cr_assert_eq(session.subscriber.count, 1);
    subscriptions_remove_all(&world.store, &session.subscriber);
    world_free(&world);
}

Test(subscriptions, one_delivery_for_overlapping_subscriptions)
{
    struct world world;
    struct session sessions[2];
    struct match_delivery delivery;
    uint32_t identifiers[8];
    world_init(&world);
    session_init(&world, &sessions[0]);
    session_init(&world, &sessions[1]);

    add(&world, &sessions[0], "a/b", (struct subscription_options){.qos = 0, .identifier = 1});
    add(&world, &sessions[1], "a/b", (struct subscription_options){.qos = 0});
    add(&world, &sessions[0], "a/+",
        (struct subscription_options){.qos = 2, .identifier = 2, .retain_as_published = true});
    add(&world, &sessions[1], "#", (struct subscription_options){.qos = 1, .no_local = true});
    add(&world, &sessions[0], "a/#", (struct subscription_options){.qos = 1, .no_local = true});

    const struct match_set *set = subscriptions_match(&world.store, slice_text("a/b"));
    cr_assert_eq(set->count, 5);
    unsigned seen = 0;
    for (uint32_t at = 0; match_set_next(set, &at, &sessions[1], &delivery); seen++) {
        if (delivery.session == &sessions[0]) {
            cr_assert_eq(delivery.qos, 2);
            cr_assert(delivery.retain_as_published);
            cr_assert_eq(match_identifiers(&delivery, &sessions[1], identifiers, 8), 2);
            cr_assert_eq(identifiers[0] + identifiers[1], 3);
            cr_assert_eq(match_identifiers(&delivery, &sessions[1], identifiers, 1), 1);
        } else {
            cr_assert_eq(delivery.qos, 0, "no-local one must not count for its own publish");
            cr_assert_not(delivery.retain_as_published);
        }
    }
    cr_assert_eq(seen, 2);
    subscriptions_match_end(&world.store);
    subscriptions_remove_all(&world.store, &sessions[0].subscriber);
    subscriptions_remove_all(&world.store, &sessions[1].subscriber);
    world_free(&world);
}

Test(subscriptions, no_delivery_when_all_are_no_local)
{
    struct world world;
    struct session session;
    struct match_delivery delivery;
    uint32_t at = 0;
    world_init(&world);
    session_init(&world, &session);

    add(&world, &session, "a", (struct subscription_options){.no_local = true});
    const struct match_set *set = subscriptions_match(&world.store, slice_text("a"));
    cr_assert_not(match_set_next(set, &at, &session, &delivery));
    at = 0;
    cr_assert(match_set_next(set, &at, NULL, &delivery));
    subscriptions_match_end(&world.store);
    subscriptions_remove_all(&world.store, &session.subscriber);
    world_free(&world);
}

Test(subscriptions, filter_is_what_the_client_sent)
{
    static const char *const filters[] = {
        "a", "/", "a//b/", "+/x/#", "#", "$share/g/a/+", "$share/group//", "$SYS/#"};
    struct world world;
    struct session session;
    uint8_t out[64];
    world_init(&world);
    session_init(&world, &session);

    for (unsigned i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        struct subscription *subscription =
            add(&world, &session, filters[i], (struct subscription_options){0});
        size_t size = subscription_filter(&world.store, subscription, out, sizeof(out));
        cr_assert(slice_is(slice_of(out, size), filters[i]), "%s", filters[i]);
        cr_assert_eq(size, subscription->filter_size);
        memset(out, 0x55, sizeof(out));
        cr_assert_eq(subscription_filter(&world.store, subscription, out, size - 1), size);
        cr_assert_eq(out[0], 0x55);
        cr_assert_eq(subscriptions_find(&world.store, &session.subscriber, slice_text(filters[i])),
                     subscription);
    }
    subscriptions_remove_all(&world.store, &session.subscriber);
    world_free(&world);
}

Test(subscriptions, plain_and_shared_ones_are_different)
{
    struct world world;
    struct session session;
    world_init(&world);
    session_init(&world, &session);

    add(&world, &session, "$share/g/a", (struct subscription_options){0});
    cr_assert_null(subscriptions_find(&world.store, &session.subscriber, slice_text("a")));
    cr_assert_null(subscriptions_find(&world.store, &session.subscriber, slice_text("$share/h/a")));
    add(&world, &session, "a", (struct subscription_options){0});
    add(&world, &session, "$share/h/a", (struct subscription_options){0});
    cr_assert_eq(session.subscriber.count, 3);
    const struct match_set *set = subscriptions_match(&world.store, slice_text("a"));
    cr_assert_eq(set->count, 1);
    cr_assert_eq(set->group_count, 2);
    subscriptions_match_end(&world.store);
    subscriptions_remove(&world.store, subscriptions_find(&world.store, &session.subscriber,
                                                          slice_text("$share/g/a")));
    set = subscriptions_match(&world.store, slice_text("a"));
    cr_assert_eq(set->count, 1);
    cr_assert_eq(set->group_count, 1);
    cr_assert(slice_is(share_group_name(set->groups[0]), "h"));
    subscriptions_match_end(&world.store);
    subscriptions_remove_all(&world.store, &session.subscriber);
    world_free(&world);
}

/* --- comparison with a model --- */

enum { SESSIONS = 12, FILTERS = 60, TOPICS = 40 };

struct model {
    struct world world;
    struct session sessions[SESSIONS];
    char filters[FILTERS][RANDOM_SIZE];
    char topics[TOPICS][RANDOM_SIZE];
    uint32_t plain[SESSIONS][FILTERS]; /* the identifier, 0: not subscribed */
    bool shared[SESSIONS][FILTERS];    /* $share/g/ before the filter */
    uint32_t identifier;
};

static void model_init(struct model *model, unsigned seed)
{
    random_seed(seed);
    memset(model, 0, sizeof(*model));
    world_init(&model->world);
    for (int i = 0; i < SESSIONS; i++)
        session_init(&model->world, &model->sessions[i]);
    for (int i = 0; i < FILTERS; i++) {
        /* Each filter is there once: the model tells subscriptions apart by its index. */
        bool repeated;
        do {
            repeated = false;
            random_levels(model->filters[i], true);
            for (int j = 0; j < i; j++)
                repeated |= strcmp(model->filters[i], model->filters[j]) == 0;
        } while (repeated);
    }
    for (int i = 0; i < TOPICS; i++)
        random_levels(model->topics[i], false);
}

static void model_check(struct model *model, const char *topic)
{
    const struct match_set *set = subscriptions_match(&model->world.store, slice_text(topic));
    uint32_t expected = 0;
    uint32_t expected_groups = 0;

    for (int f = 0; f < FILTERS; f++) {
        bool matches = naive_match(model->filters[f], topic);
        cr_assert_eq(matches, topic_matches(slice_text(model->filters[f]), slice_text(topic)));
        bool group = false;
        for (int s = 0; s < SESSIONS; s++) {
            group |= matches && model->shared[s][f];
            if (!matches || model->plain[s][f] == 0)
                continue;
            expected++;
            uint32_t i = 0;
            while (i < set->count && set->matches[i].identifier != model->plain[s][f])
                i++;
            cr_assert_lt(i, set->count, "%s should match %s", model->filters[f], topic);
            cr_assert_eq(set->matches[i].session, &model->sessions[s]);
        }
        expected_groups += group;
    }
    cr_assert_eq(set->count, expected);
    cr_assert_eq(set->group_count, expected_groups);
    struct match_delivery delivery;
    bool seen[SESSIONS] = {false};
    for (uint32_t at = 0; match_set_next(set, &at, NULL, &delivery);) {
        cr_assert_not(seen[delivery.session - model->sessions], "two deliveries for one session");
        seen[delivery.session - model->sessions] = true;
    }
    subscriptions_match_end(&model->world.store);
}

static struct slice model_filter(const struct model *model, unsigned filter, bool shared,
                                 char *text)
{
    snprintf(text, RANDOM_SIZE + 16, "%s%s", shared ? "$share/g/" : "", model->filters[filter]);
    return slice_text(text);
}

static void model_change(struct model *model)
{
    unsigned s = (unsigned)random_below(SESSIONS);
    unsigned f = (unsigned)random_below(FILTERS);
    bool shared = random_below(3) == 0;
    char text[RANDOM_SIZE + 16];
    struct slice filter = model_filter(model, f, shared, text);
    struct subscriber *subscriber = &model->sessions[s].subscriber;
    struct subscriptions *store = &model->world.store;
    struct subscription *present = subscriptions_find(store, subscriber, filter);

    cr_assert_eq(present != NULL, shared ? model->shared[s][f] : model->plain[s][f] != 0);
    if (random_below(100) == 0) {
        subscriptions_remove_all(store, subscriber);
        memset(model->plain[s], 0, sizeof(model->plain[s]));
        memset(model->shared[s], 0, sizeof(model->shared[s]));
    } else if (present != NULL && random_below(3) > 0) {
        subscriptions_remove(store, present);
        if (shared) {
            model->shared[s][f] = false;
        } else {
            model->plain[s][f] = 0;
        }
    } else {
        bool existed;
        struct subscription_options options = {.identifier = ++model->identifier};
        subscriptions_add(store, subscriber, filter, &options, &existed);
        cr_assert_eq(existed, present != NULL);
        if (shared) {
            model->shared[s][f] = true;
        } else {
            model->plain[s][f] = model->identifier;
        }
    }
}

static void model_run(unsigned seed, unsigned steps)
{
    static struct model model;

    model_init(&model, seed);
    for (unsigned step = 0; step < steps; step++) {
        model_change(&model);
        for (int i = 0; i < 4; i++)
            model_check(&model, model.topics[random_below(TOPICS)]);
        char topic[RANDOM_SIZE];
        random_levels(topic, false);
        model_check(&model, topic);
    }
    cr_assert_gt(model.world.store.cache.hits, steps / 20, "the cache was not tried");
    for (int s = 0; s < SESSIONS; s++)
        subscriptions_remove_all(&model.world.store, &model.sessions[s].subscriber);
    world_free(&model.world);
}

Test(subscriptions, match_like_the_model_under_random_churn)
{
    for (unsigned seed = 1; seed <= 8; seed++)
        model_run(seed, 1500);
}
