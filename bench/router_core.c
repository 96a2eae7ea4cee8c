/* Measures the router's data structures inside one process: what a match, a retained update, a
 * timer cost, and how that changes with a million unrelated entries beside them. Prints nanoseconds
 * and bytes; each scenario runs in a process of its own, so that memory is its own as well.
 *
 *     bench-router-core [SCENARIO...] */
#include "common/verify.h"
#include "router/access/principal.h"
#include "router/timer_wheel.h"
#include "router/topics/retained.h"
#include "router/topics/subscriptions.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MILLION UINT64_C(1000000)

enum {
    CACHE_ENTRIES = 32768,
    CACHE_BYTES = 32 << 20,
    NAME_SIZE = 64,
};

struct session {
    struct subscriber subscriber;
};

static struct {
    struct principals principals;
    struct principal *principal;
    struct session *sessions;
    uint64_t random;
} bench;

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Processor time, so that others on the machine disturb little. */
static uint64_t now_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* Passing time, which is cheap to read often. */
static uint64_t wall_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t resident_bytes(void)
{
    char line[128];
    char *second;
    FILE *file = fopen("/proc/self/statm", "re");

    VERIFY(file != NULL && fgets(line, sizeof(line), file) != NULL);
    fclose(file);
    strtoul(line, &second, 10);
    return strtoul(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint32_t random_below(uint32_t limit)
{
    bench.random = bench.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((bench.random >> 33) % limit);
}

static void report_elapsed(const char *what, uint64_t elapsed, uint64_t count)
{
    printf("  %-58s %8.1f ns\n", what, (double)elapsed / (double)count);
}

static void report(const char *what, uint64_t since, uint64_t count)
{
    report_elapsed(what, now_ns() - since, count);
}

static void report_bytes(const char *what, uint64_t before, uint64_t own, uint64_t count)
{
    double used = (double)(resident_bytes() - before) - (double)own;

    printf("  %-58s %8.1f bytes\n", what, used / (double)count);
}

/* The yardstick for all that is at random: one read of memory that no cache holds. */
static void memory_latency(void)
{
    enum { CELLS = 1 << 22, CELL = 8 };
    size_t(*cells)[CELL] = calloc(CELLS, sizeof(*cells));
    size_t at = 0;

    VERIFY(cells != NULL);
    for (size_t i = 0; i < CELLS; i++)
        cells[i][0] = i;
    for (size_t i = CELLS - 1; i > 0; i--) {
        size_t other = random_below((uint32_t)i);
        size_t swap = cells[i][0];
        cells[i][0] = cells[other][0];
        cells[other][0] = swap;
    }
    uint64_t since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++)
        at = cells[at][0];
    VERIFY(at < CELLS);
    report("one read at random from 256 MiB", since, MILLION);
    free(cells);
}

static void sessions_new(uint32_t count)
{
    bench.sessions = calloc(count, sizeof(*bench.sessions));
    VERIFY(bench.sessions != NULL);
    for (uint32_t i = 0; i < count; i++) {
        bench.sessions[i].subscriber.session = &bench.sessions[i];
        bench.sessions[i].subscriber.principal = bench.principal;
    }
}

__attribute__((format(printf, 3, 4))) static struct subscription *
subscribe(struct subscriptions *store, uint32_t session, const char *format, ...)
{
    char filter[NAME_SIZE];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(filter, sizeof(filter), format, arguments);
    va_end(arguments);
    return subscriptions_add(store, &bench.sessions[session].subscriber,
                             slice_of(filter, (size_t)size),
                             &(struct subscription_options){.qos = 1}, NULL);
}

/* Names made beforehand, so that their making is not measured. */
static char (*names_new(uint32_t count, const char *before, const char *after))[NAME_SIZE]
{
    char(*names)[NAME_SIZE] = calloc(count, sizeof(*names));

    VERIFY(names != NULL);
    for (uint32_t i = 0; i < count; i++)
        snprintf(names[i], NAME_SIZE, "%s%u%s", before, i, after);
    return names;
}

/* Into random order, so that going through them asks for what they name at random. */
static void shuffle(char (*names)[NAME_SIZE], uint32_t count)
{
    char name[NAME_SIZE];

    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t other = random_below(i + 1);
        memcpy(name, names[i], NAME_SIZE);
        memcpy(names[i], names[other], NAME_SIZE);
        memcpy(names[other], name, NAME_SIZE);
    }
}

/* Matches the topics of names in random order, rounds times in all; each has wanted matches. */
static void time_matches(struct subscriptions *store, const char *what, char (*names)[NAME_SIZE],
                         uint32_t count, uint32_t rounds, uint32_t wanted)
{
    uint32_t at = 0;

    shuffle(names, count);
    for (uint32_t i = 0; i < count && i < CACHE_ENTRIES; i++) {
        for (int warm = 0; warm < 3; warm++) {
            subscriptions_match(store, slice_text(names[i]));
            subscriptions_match_end(store);
        }
    }
    uint64_t since = now_ns();
    for (uint32_t i = 0; i < rounds; i++) {
        const struct match_set *set = subscriptions_match(store, slice_text(names[at]));
        VERIFY(set->count == wanted);
        subscriptions_match_end(store);
        at = at + 1 < count ? at + 1 : 0;
    }
    report(what, since, rounds);
}

static void matches_beside(uint32_t unrelated, bool cached)
{
    static struct subscriptions store;
    char(*topics)[NAME_SIZE] = names_new(1000, "sensors/hall/", "/state");
    char(*missing)[NAME_SIZE] = names_new(1000, "missing/hall/", "/state");
    sessions_new(unrelated + 1000);
    subscriptions_init(&store, cached ? CACHE_ENTRIES : 0, CACHE_BYTES);
    uint64_t before = resident_bytes();
    uint64_t since = now_ns();

    for (uint32_t i = 0; i < unrelated; i++)
        subscribe(&store, i, "devices/%u/command", i);
    if (unrelated > 0) {
        report("subscribe", since, unrelated);
        report_bytes("memory of a subscription", before, 0, unrelated);
    }
    for (uint32_t i = 0; i < 1000; i++)
        subscribe(&store, unrelated + i, "sensors/hall/%u/state", i);
    time_matches(&store, "one topic, one subscriber", topics, 1, 5 * MILLION, 1);
    time_matches(&store, "1,000 topics, one subscriber each", topics, 1000, 5 * MILLION, 1);
    time_matches(&store, "1,000 topics, no subscriber", missing, 1000, 5 * MILLION, 0);
    if (unrelated == 0)
        return;
    char(*all)[NAME_SIZE] = names_new(unrelated, "devices/", "/command");
    time_matches(&store, "all of the others' topics, at random", all, unrelated, MILLION, 1);
    since = now_ns();
    for (uint32_t i = 0; i < unrelated; i++)
        subscriptions_remove_all(&store, &bench.sessions[i].subscriber);
    report("unsubscribe", since, unrelated);
}

static void cached_0(void)
{
    matches_beside(0, true);
}

static void cached_50k(void)
{
    matches_beside(50000, true);
}

static void cached_1m(void)
{
    matches_beside(MILLION, true);
}

static void uncached_0(void)
{
    matches_beside(0, false);
}

static void uncached_50k(void)
{
    matches_beside(50000, false);
}

static void uncached_1m(void)
{
    matches_beside(MILLION, false);
}

static void wildcards(void)
{
    enum { FILTERS = 50000 };
    char(*topics)[NAME_SIZE] = names_new(FILTERS, "site/a/", "/room/temperature");

    sessions_new(FILTERS);
    for (int cached = 0; cached < 2; cached++) {
        static struct subscriptions store;
        subscriptions_init(&store, cached ? 2 * FILTERS : 0, CACHE_BYTES);
        for (uint32_t i = 0; i < FILTERS; i++)
            subscribe(&store, i, "site/+/%u/+/%s", i, i % 2 ? "#" : "temperature");
        time_matches(&store, cached ? "one topic, cached" : "one topic, not cached", topics, 1,
                     2 * MILLION, 1);
        time_matches(&store, cached ? "50,000 topics, cached" : "50,000 topics, not cached", topics,
                     FILTERS, 2 * MILLION, 1);
        for (uint32_t i = 0; i < FILTERS; i++)
            subscriptions_remove_all(&store, &bench.sessions[i].subscriber);
        subscriptions_free(&store);
    }
}

/* Others come and go while a thousand topics are published to: cost of the match alone. */
static void churn(void)
{
    static const char *const filters[][2] = {
        {"devices/", "/command"}, {"devices/", "/#"}, {"other/+/", ""}, {"sensors/+/", "/no"}};
    static struct subscriptions store;
    char(*topics)[NAME_SIZE] = names_new(1000, "sensors/hall/", "/state");
    char what[2 * NAME_SIZE];

    sessions_new(1001);
    subscriptions_init(&store, CACHE_ENTRIES, CACHE_BYTES);
    for (uint32_t i = 0; i < 1000; i++)
        subscribe(&store, i, "sensors/hall/%u/state", i);
    for (unsigned kind = 0; kind < sizeof(filters) / sizeof(filters[0]); kind++) {
        uint64_t spent = 0;
        uint64_t start = wall_ns();
        for (uint32_t i = 0; i < 200000; i++) {
            subscribe(&store, 1000, "%s%u%s", filters[kind][0], random_below(100000),
                      filters[kind][1]);
            uint64_t since = wall_ns();
            for (int publish = 0; publish < 10; publish++) {
                subscriptions_match(&store, slice_text(topics[random_below(1000)]));
                subscriptions_match_end(&store);
            }
            spent += wall_ns() - since;
            subscriptions_remove_all(&store, &bench.sessions[1000].subscriber);
        }
        uint64_t all = wall_ns() - start;
        snprintf(what, sizeof(what), "match, 10 for each change of %sN%s", filters[kind][0],
                 filters[kind][1]);
        report_elapsed(what, spent, 2 * MILLION);
        snprintf(what, sizeof(what), "subscribe and unsubscribe %sN%s", filters[kind][0],
                 filters[kind][1]);
        report_elapsed(what, all - spent, 200000);
    }
}

static void fan_out(void)
{
    enum { SUBSCRIBERS = 1000 };
    const uint64_t rounds = 20000;
    static struct subscriptions store;
    char(*topics)[NAME_SIZE] = names_new(1, "news/", "");
    char(*free_topics)[NAME_SIZE] = names_new(MILLION / 10, "news/", "");

    sessions_new(SUBSCRIBERS);
    subscriptions_init(&store, CACHE_ENTRIES, CACHE_BYTES);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++)
        subscribe(&store, i, "news/#");
    time_matches(&store, "1 to 1,000, cached, for all", topics, 1, rounds, SUBSCRIBERS);
    time_matches(&store, "1 to 1,000, always another topic", free_topics, MILLION / 10, rounds,
                 SUBSCRIBERS);
    uint64_t since = now_ns();
    uint64_t sum = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        const struct match_set *set = subscriptions_match(&store, slice_text(topics[0]));
        struct match_delivery delivery;
        for (uint32_t at = 0; match_set_next(set, &at, NULL, &delivery);)
            sum += delivery.qos;
        subscriptions_match_end(&store);
    }
    VERIFY(sum == rounds * SUBSCRIBERS);
    report("1 to 1,000, cached, and looking at each session, for each", since,
           rounds * SUBSCRIBERS);
}

static struct message *message_for(const char *topic, const char *payload, uint64_t id)
{
    return message_new(&(struct message_fields){.topic = slice_text(topic),
                                                .payload = slice_of(payload, 64),
                                                .id = id,
                                                .publisher = bench.principal});
}

static void replay(struct retained_store *store, const char *filter, uint64_t wanted)
{
    struct retained_cursor *cursor = retained_cursor_new(store, slice_text(filter));
    struct message *messages[100];
    char what[NAME_SIZE];
    uint64_t found = 0;
    uint64_t since = now_ns();

    while (!retained_cursor_done(cursor))
        found += retained_cursor_next(cursor, messages, 100, 1000);
    snprintf(what, sizeof(what), "replay of %s, for each", filter);
    report(what, since, found);
    VERIFY(found == wanted);
    retained_cursor_free(cursor);
}

static void retained(void)
{
    static struct retained_store store;
    static const char payload[65] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char(*topics)[NAME_SIZE] = names_new(MILLION, "devices/", "/state");
    uint64_t before = resident_bytes();
    uint64_t own = 0;

    retained_init(&store);
    uint64_t since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++) {
        struct message *message = message_for(topics[i], payload, i);
        retained_set(&store, message);
        own += message_size(message);
        message_unref(message);
    }
    report("set, new, up to 1,000,000", since, MILLION);
    shuffle(topics, MILLION);
    report_bytes("memory of a message, above topic and payload", before, own, MILLION);
    since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++) {
        struct message *message = message_for(topics[i], payload, i);
        VERIFY(retained_set(&store, message));
        message_unref(message);
    }
    report("set, replacing, at random", since, MILLION);
    since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++)
        VERIFY(retained_get(&store, slice_text(topics[i])) != NULL);
    report("get, at random", since, MILLION);
    since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++)
        VERIFY(retained_get(&store, slice_text(topics[i % 100])) != NULL);
    report("get, the same 100", since, MILLION);
    replay(&store, "#", MILLION);
    replay(&store, "devices/+/state", MILLION);
    replay(&store, "devices/77/#", 1);
    since = now_ns();
    retained_free(&store);
    report("clear", since, MILLION);
}

/* The table's growth is spread over all insertions: none may stand out. */
static void growth(void)
{
    struct keyed_node *nodes = calloc(2 * MILLION, sizeof(*nodes));
    struct keyed_table table;
    uint64_t slowest = 0;

    VERIFY(nodes != NULL);
    keyed_table_init(&table);
    for (uint64_t i = 0; i < 2 * MILLION; i++) {
        uint64_t hash = keyed_hash(&i, sizeof(i));
        uint64_t since = now_ns();
        keyed_table_insert(&table, &nodes[i], hash);
        uint64_t took = now_ns() - since;
        slowest = took > slowest ? took : slowest;
    }
    printf("  %-58s %8.1f us\n", "the slowest of 2,000,000 insertions", (double)slowest / 1000);
}

static void on_timer(struct timer *timer, void *context)
{
    (void)timer;
    (void)context;
}

static void timers(void)
{
    static struct timer_wheel wheel;
    struct timer *all = calloc(MILLION, sizeof(*all));

    VERIFY(all != NULL);
    timer_wheel_init(&wheel, 0, NULL);
    uint64_t since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++)
        timer_add(&wheel, &all[i], random_below(1000000000), on_timer);
    report("add", since, MILLION);
    since = now_ns();
    for (uint32_t i = 0; i < MILLION; i++)
        timer_add(&wheel, &all[random_below(MILLION)], random_below(1000000000), on_timer);
    report("move", since, MILLION);
    since = now_ns();
    for (uint64_t now = 0; now <= 1000000000; now += 1000)
        timer_wheel_advance(&wheel, now, SIZE_MAX);
    report("fire, and pass a second", since, MILLION);
    VERIFY(wheel.count == 0);
}

static const struct scenario {
    const char *name;
    const char *title;
    void (*run)(void);
} scenarios[] = {
    {"memory", "yardstick", memory_latency},
    {"cached-0", "match, no other subscriptions", cached_0},
    {"cached-50k", "match beside 50,000 subscriptions", cached_50k},
    {"cached-1m", "match beside 1,000,000 subscriptions", cached_1m},
    {"uncached-0", "match without cache, no other subscriptions", uncached_0},
    {"uncached-50k", "match without cache, beside 50,000 subscriptions", uncached_50k},
    {"uncached-1m", "match without cache, beside 1,000,000 subscriptions", uncached_1m},
    {"wildcards", "match with 50,000 wildcard filters", wildcards},
    {"churn", "match while others subscribe and unsubscribe", churn},
    {"fan-out", "match with 1,000 subscribers", fan_out},
    {"retained", "1,000,000 retained messages of 64 bytes", retained},
    {"growth", "growth of a table", growth},
    {"timers", "1,000,000 timers", timers},
};

static bool wanted(const struct scenario *scenario, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], scenario->name) == 0)
            return true;
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        int status;
        if (!wanted(&scenarios[i], argc, argv))
            continue;
        printf("%s: %s\n", scenarios[i].name, scenarios[i].title);
        fflush(stdout);
        pid_t child = fork();
        VERIFY(child >= 0);
        if (child == 0) {
            principals_init(&bench.principals);
            bench.principal = principal_get(&bench.principals, slice_text("bench"));
            scenarios[i].run();
            fflush(stdout);
            _exit(0);
        }
        if (waitpid(child, &status, 0) != child || status != 0)
            return 1;
    }
    return 0;
}
