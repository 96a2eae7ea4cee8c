/* The decision on one credential. A token, where one is wanted, is verified at once: that is cheap
 * and cannot be guessed; only refusals wait. A password goes this way: does it need proof at all,
 * was it proven a short while ago, must this address or user wait after failures, is there room for
 * one more slow hash, and then the hash itself, on a helper. An unknown user goes the same way as a
 * known one. */
#include "authd/authd.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/text_cut.h"
#include "common/verify.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PENDING_MAX = 16384,
    BACKLOG = 16, /* hashes that may wait for each helper: some two seconds of work */
    DELAYED_MAX = PENDING_MAX / 2, /* of those; guessers must not take all places */
    PENDING_BYTES_MAX = 32 * 1024 * 1024,
    AUDIT_TEXT_MAX = 512,   /* bytes of a user name that are audited */
    TOKENS_A_SECOND = 2000, /* a signature takes some 50 us, 4096 bits of RSA the double */
};

/* A check that waits: for its delay, then for a helper. Or a refusal that waits for its delay. */
struct pending_check {
    struct hash_job job; /* first: a finished job is its check */
    struct keyed_node node;
    struct authd *authd;
    ev_timer delay;
    uint64_t conn;
    uint16_t worker;
    uint16_t listener;
    uint32_t generation; /* of the users that it is checked against */
    bool hashing;
    bool forgotten;       /* no verdict is wanted */
    uint8_t refusal;      /* 0: it is a password, to be checked */
    bool address_is_real; /* and not that of a proxy */
    char address[ADDRESS_TEXT_MAX + 1];
    struct slice user;
    uint8_t bytes[]; /* user name, then password */
};

static bool router_listens(const struct authd *authd)
{
    return authd->router.loop != NULL && channel_is_open(&authd->router);
}

static void send_verdict(struct authd *authd, uint16_t worker, uint64_t conn, uint8_t reason,
                         uint8_t flags, struct slice principal)
{
    struct ar_verdict verdict = {
        .worker = worker, .conn = conn, .reason = reason, .flags = flags, .principal = principal};

    if (router_listens(authd))
        ar_verdict_encode(&authd->router.out, &verdict);
}

static uint64_t pending_hash(uint16_t worker, uint64_t conn)
{
    return keyed_hash_pair(worker, &conn, sizeof(conn));
}

static struct pending_check *pending_find(const struct authd *authd, uint16_t worker, uint64_t conn)
{
    struct keyed_node *node = keyed_table_find(&authd->pending, pending_hash(worker, conn));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct pending_check *check = KEYED_ENTRY(node, struct pending_check, node);
        if (check->worker == worker && check->conn == conn && !check->forgotten)
            return check;
    }
    return NULL;
}

static size_t pending_size(const struct pending_check *check)
{
    return sizeof(*check) + check->user.len + check->job.password_len;
}

static void pending_free(struct pending_check *check)
{
    struct authd *authd = check->authd;

    ev_timer_stop(authd->child.loop, &check->delay);
    keyed_table_remove(&authd->pending, &check->node);
    authd->pending_bytes -= pending_size(check);
    sodium_memzero(check->bytes, check->user.len + check->job.password_len);
    free(check);
}

/* A client's bytes as a JSON string, cut to size. */
static json_t *text_of(struct slice bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, text_cut(bytes, AUDIT_TEXT_MAX).len);

    return text != NULL ? text : json_string("");
}

/* user without data: the client gave none. reason is a text of ours. */
static void audit_failure(struct authd *authd, struct slice user, const char *address,
                          const char *reason, uint32_t count)
{
    json_t *event =
        json_pack("{s:s, s:o, s:o, s:s, s:I}", "event", "authentication_failed", "user",
                  user.data == NULL ? json_null() : text_of(user), "address",
                  text_of(slice_text(address)), "reason", reason, "count", (json_int_t)count);
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;

    if (text != NULL && strlen(text) <= CONTROL_ARGUMENT_MAX)
        child_audit(&authd->child, slice_text(text));
    free(text);
    json_decref(event);
}

/* address: NULL when it is only a proxy's. */
static void note_failure(struct authd *authd, struct slice user, const char *address)
{
    double now = ev_now(authd->child.loop);

    if (user.data != NULL)
        throttle_failed(&authd->throttle, now, THROTTLE_USER, user);
    if (address != NULL)
        throttle_failed(&authd->throttle, now, THROTTLE_ADDRESS, slice_text(address));
}

static void tell_deferred(void *context, uint32_t count)
{
    struct authd *authd = context;
    char event[96];

    snprintf(event, sizeof(event), "{\"event\":\"logins_deferred\",\"count\":%u}", count);
    child_audit(&authd->child, slice_text(event));
}

/* There is no room for one more check: the client is to try again later. */
static void defer(struct authd *authd, uint16_t worker, uint64_t conn)
{
    send_verdict(authd, worker, conn, REASON_SERVER_BUSY, 0, slice_of(NULL, 0));
    tally_add(&authd->deferred);
}

static void tell_nameless(void *context, uint32_t count)
{
    struct authd *authd = context;

    audit_failure(authd, slice_of(NULL, 0), authd->nameless_address,
                  "no user name, and anonymous access is not allowed", count);
}

static void start_hash(struct pending_check *check);

/* The helper has spoken. If the password file was replaced meanwhile, it spoke of an old one. */
static void finish(struct pending_check *check)
{
    struct authd *authd = check->authd;
    double now = ev_now(authd->child.loop);
    struct slice password = slice_of(check->job.password, check->job.password_len);
    const struct user *user = users_find(authd->users, check->user);
    bool current = check->generation == authd->generation;

    authd->hashing[check->listener]--;
    if (!current && !check->forgotten) {
        start_hash(check);
        return;
    }
    if (!current) {
        pending_free(check);
        return;
    }
    if (check->job.right && user != NULL) {
        cache_add(&authd->cache, now, check->user, user->stored, password);
        if (!check->forgotten)
            send_verdict(authd, check->worker, check->conn, REASON_SUCCESS, 0, check->user);
    } else {
        note_failure(authd, check->user, check->address_is_real ? check->address : NULL);
        audit_failure(authd, check->user, check->address, "bad user name or password", 1);
        if (!check->forgotten)
            send_verdict(authd, check->worker, check->conn, REASON_BAD_CREDENTIALS, 0,
                         slice_of(NULL, 0));
    }
    pending_free(check);
}

static void on_hashed(struct ev_loop *loop, ev_async *watcher, int revents)
{
    struct authd *authd = watcher->data;
    (void)loop;
    (void)revents;

    struct hash_job *job = hasher_take_done(&authd->hasher);
    while (job != NULL) {
        struct hash_job *next = job->next;
        finish((struct pending_check *)(void *)job);
        job = next;
    }
}

/* A hash is begun only if its turn comes soon, and no listener may take all turns and tokens: a
 * worker that was taken over must not keep out the clients of another one. */
static bool may_hash(struct authd *authd, uint16_t listener)
{
    uint32_t most = BACKLOG * (authd->setup.helpers > 0 ? authd->setup.helpers : 1);

    return authd->hasher.count < most && authd->hashing[listener] < most / 4 * 3 &&
           throttle_admit(&authd->admission[listener], ev_now(authd->child.loop));
}

static void start_hash(struct pending_check *check)
{
    struct authd *authd = check->authd;
    const struct user *user = users_find(authd->users, check->user);
    const char *stored = user != NULL ? user->stored : users_stand_in(authd->users, check->user);

    if (!may_hash(authd, check->listener)) {
        defer(authd, check->worker, check->conn);
        pending_free(check);
        return;
    }
    check->hashing = true;
    authd->hashing[check->listener]++;
    check->generation = authd->generation;
    check->job.known = user != NULL;
    if (stored == NULL)
        stored = password_of_nobody();
    memcpy(check->job.stored, stored, strlen(stored) + 1);
    hasher_submit(&authd->hasher, &check->job);
}

static void on_delay_over(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct pending_check *check = watcher->data;
    (void)loop;
    (void)revents;

    if (check->refusal == 0) {
        start_hash(check);
        return;
    }
    send_verdict(check->authd, check->worker, check->conn, check->refusal, 0, slice_of(NULL, 0));
    pending_free(check);
}

/* Whether the address is the client's own, and not that of a proxy. */
static bool address_is_real(const struct authd *authd, const struct wa_check *m)
{
    bool behind_proxy = (authd->listener_flags[m->listener] &
                         (LISTENER_TRUST_HEADERS | LISTENER_PROXY_PROTOCOL)) != 0;

    return m->address.len > 0 && (!behind_proxy || (m->flags & CREDENTIAL_PROXIED) != 0);
}

/* Keeps what the check needs; NULL when there is no room. */
static struct pending_check *pending_new(struct worker_link *worker, const struct wa_check *m,
                                         struct slice password)
{
    struct authd *authd = worker->authd;
    size_t size = sizeof(struct pending_check) + m->user_name.len + password.len;

    if (authd->pending.count >= PENDING_MAX || authd->pending_bytes + size > PENDING_BYTES_MAX)
        return NULL;
    struct pending_check *check = calloc(1, size);
    VERIFY(check != NULL);
    check->authd = authd;
    check->conn = m->conn;
    check->worker = worker->index;
    check->listener = m->listener;
    if (m->user_name.len > 0)
        memcpy(check->bytes, m->user_name.data, m->user_name.len);
    if (password.len > 0)
        memcpy(check->bytes + m->user_name.len, password.data, password.len);
    check->user = slice_of(check->bytes, m->user_name.len);
    check->job.password = check->bytes + m->user_name.len;
    check->job.password_len = password.len;
    memcpy(check->address, m->address.data, m->address.len);
    check->address_is_real = address_is_real(authd, m);
    ev_timer_init(&check->delay, on_delay_over, 0, 0);
    check->delay.data = check;
    keyed_table_insert(&authd->pending, &check->node, pending_hash(check->worker, check->conn));
    authd->pending_bytes += size;
    return check;
}

static double delay_for(struct authd *authd, const struct pending_check *check)
{
    double now = ev_now(authd->child.loop);
    double delay = throttle_delay(&authd->throttle, now, THROTTLE_USER, check->user);

    if (check->address_is_real) {
        double other =
            throttle_delay(&authd->throttle, now, THROTTLE_ADDRESS, slice_text(check->address));
        delay = other > delay ? other : delay;
    }
    return delay;
}

static void check_password(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;
    const struct user *user = users_find(authd->users, m->user_name);

    if (user != NULL && cache_knows(&authd->cache, ev_now(authd->child.loop), m->user_name,
                                    user->stored, m->password)) {
        send_verdict(authd, worker->index, m->conn, REASON_SUCCESS, 0, m->user_name);
        return;
    }
    struct pending_check *check = pending_new(worker, m, m->password);
    if (check == NULL) {
        defer(authd, worker->index, m->conn);
        return;
    }
    double delay = delay_for(authd, check);
    if (delay > 0 && authd->pending.count > DELAYED_MAX) {
        pending_free(check);
        defer(authd, worker->index, m->conn);
    } else if (delay > 0) {
        ev_timer_set(&check->delay, delay, 0);
        ev_timer_start(authd->child.loop, &check->delay);
    } else {
        start_hash(check);
    }
}

/* --- tokens --- */

/* Refuses, after the delay that this address and user have earned before, and has them earn more.
 */
static void refuse_token(struct worker_link *worker, const struct wa_check *m, uint8_t reason,
                         const char *why)
{
    struct authd *authd = worker->authd;
    bool named = (m->flags & CREDENTIAL_USER_NAME) != 0;
    struct pending_check *check = pending_new(worker, m, slice_of(NULL, 0));
    char text[128];

    if (check == NULL) {
        defer(authd, worker->index, m->conn);
        return;
    }
    struct slice user = named ? check->user : slice_of(NULL, 0);
    double delay = delay_for(authd, check);
    note_failure(authd, user, check->address_is_real ? check->address : NULL);
    snprintf(text, sizeof(text), "token: %s", why);
    audit_failure(authd, user, check->address, text, 1);
    check->refusal = reason;
    ev_timer_set(&check->delay, delay, 0);
    ev_timer_start(authd->child.loop, &check->delay);
}

static void check_token(struct worker_link *worker, const struct wa_check *m, enum token_kind kind,
                        struct slice token, uint8_t refusal)
{
    struct authd *authd = worker->authd;
    double now = ev_now(authd->child.loop);
    struct token_identity who;

    if (!throttle_admit(&authd->token_rate, now)) {
        defer(authd, worker->index, m->conn);
        return;
    }
    const char *wrong = tokens_verify(&authd->tokens, kind, token, now, &who);
    if (wrong == NULL && (m->flags & CREDENTIAL_USER_NAME) != 0 &&
        !slice_equal(m->user_name, who.user))
        wrong = "the user name is not the one in it";
    if (wrong != NULL) {
        refuse_token(worker, m, refusal, wrong);
    } else if (router_listens(authd)) {
        struct ar_verdict verdict = {.worker = worker->index,
                                     .conn = m->conn,
                                     .principal = who.user,
                                     .expires_at = who.expires_at,
                                     .token_key = who.key};
        ar_verdict_encode(&authd->router.out, &verdict);
    }
    token_identity_free(&who);
}

/* Where Access tokens are wanted nothing else counts. */
static void check_access(struct worker_link *worker, const struct wa_check *m)
{
    if ((m->flags & CREDENTIAL_ACCESS_TOKEN) == 0)
        refuse_token(worker, m, REASON_NOT_AUTHORIZED, "there is none");
    else
        check_token(worker, m, TOKEN_ACCESS, m->access_token, REASON_NOT_AUTHORIZED);
}

/* With a password file too, the form says which of the two a password is. */
static bool password_is_token(const struct authd *authd, const struct wa_check *m)
{
    return tokens_wanted(&authd->tokens, TOKEN_PASSWORD) && (m->flags & CREDENTIAL_PASSWORD) != 0 &&
           (authd->users == NULL || jwt_looks_like_one(m->password));
}

void announce_token_keys(struct authd *authd)
{
    uint8_t names[TOKEN_KEYS_MAX * 8];
    struct ar_token_keys m = {.keys = slice_of(names, tokens_key_names(&authd->tokens, names))};

    if (router_listens(authd))
        ar_token_keys_encode(&authd->router.out, &m);
}

void announce_in_force(struct authd *authd, uint32_t epoch)
{
    struct ar_in_force m = {.epoch = epoch};

    if (router_listens(authd))
        ar_in_force_encode(&authd->router.out, &m);
}

/* --- any credential --- */

static void refuse_nameless(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;

    send_verdict(authd, worker->index, m->conn, REASON_NOT_AUTHORIZED, 0, slice_of(NULL, 0));
    snprintf(authd->nameless_address, sizeof(authd->nameless_address), "%.*s",
             SLICE_ARGS(m->address));
    tally_add(&authd->nameless);
}

static void check_name(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;
    bool named = (m->flags & CREDENTIAL_USER_NAME) != 0;
    bool anonymous_allowed = authd->setup.allow_anonymous &&
                             (authd->listener_flags[m->listener] & LISTENER_ALLOW_ANONYMOUS) != 0;

    if (!named && anonymous_allowed)
        send_verdict(authd, worker->index, m->conn, REASON_SUCCESS, VERDICT_ANONYMOUS,
                     slice_of(NULL, 0));
    else if (!named)
        refuse_nameless(worker, m);
    else if (authd->users != NULL)
        check_password(worker, m);
    else if (authd->setup.claimed_names && anonymous_allowed)
        send_verdict(authd, worker->index, m->conn, REASON_SUCCESS, VERDICT_CLAIMED, m->user_name);
    else
        send_verdict(authd, worker->index, m->conn, REASON_BAD_CREDENTIALS, 0, slice_of(NULL, 0));
}

bool check_credential(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;

    if (pending_find(authd, worker->index, m->conn) != NULL)
        return false;
    if ((authd->listener_flags[m->listener] & LISTENER_ACCESS_TOKEN) != 0)
        check_access(worker, m);
    else if (password_is_token(authd, m))
        check_token(worker, m, TOKEN_PASSWORD, m->password, REASON_BAD_CREDENTIALS);
    else
        check_name(worker, m);
    return true;
}

/* A check that is being hashed is freed when the helper is done with it. */
static void forget(struct pending_check *check)
{
    if (check->hashing)
        check->forgotten = true;
    else
        pending_free(check);
}

void check_forget(struct worker_link *worker, uint64_t conn)
{
    struct pending_check *check = pending_find(worker->authd, worker->index, conn);

    if (check != NULL)
        forget(check);
}

void check_forget_worker(struct worker_link *worker)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &worker->authd->pending);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct pending_check *check = KEYED_ENTRY(node, struct pending_check, node);
        if (check->worker == worker->index)
            forget(check);
    }
}

void check_start(struct authd *authd)
{
    const struct mc_authd_setup *setup = &authd->setup;

    cache_init(&authd->cache, setup->cache_s);
    throttle_init(&authd->throttle, setup->failure_delay_ms / 1000.0, 0, ev_now(authd->child.loop));
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        throttle_init(&authd->admission[i], 0, setup->hash_rate, ev_now(authd->child.loop));
    tally_init(&authd->deferred, authd->child.loop, tell_deferred, authd);
    tally_init(&authd->nameless, authd->child.loop, tell_nameless, authd);
    throttle_init(&authd->token_rate, 0, TOKENS_A_SECOND, ev_now(authd->child.loop));
    ev_async_init(&authd->hashed, on_hashed);
    authd->hashed.data = authd;
    ev_async_start(authd->child.loop, &authd->hashed);
    hasher_start(&authd->hasher, setup->helpers > 0 ? setup->helpers : 1, authd->child.loop,
                 &authd->hashed);
}

static void revoke_user(struct authd *authd, struct slice name, bool removed)
{
    struct ar_revoke m = {.removed = removed, .principal = name};

    log_notice("user '%.*s' %s: its connections end", SLICE_ARGS(name),
               removed ? "was removed" : "has a new password");
    if (router_listens(authd))
        ar_revoke_encode(&authd->router.out, &m);
}

void revoke_changed(struct authd *authd, struct users *before, const struct users *now)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    if (before == NULL || now == NULL)
        return;
    keyed_iterator_begin(&iterator, &before->table);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        const struct user *old = KEYED_ENTRY(node, struct user, node);
        const struct user *user = users_find(now, old->name);
        if (user == NULL || strcmp(user->stored, old->stored) != 0)
            revoke_user(authd, old->name, user == NULL);
    }
}
