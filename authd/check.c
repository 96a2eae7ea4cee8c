/* The decision on one credential, in this order: does it need proof at all, was it proven a short
 * while ago, must this address or user wait after failures, is there room for one more slow hash,
 * and then the hash itself, on a helper. An unknown user goes the same way as a known one. */
#include "authd/authd.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/verify.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

enum { PENDING_MAX = 16384, PENDING_BYTES_MAX = 32 * 1024 * 1024 };

/* A check that waits: for its delay, then for a helper. */
struct pending_check {
    struct hash_job job; /* first: a finished job is its check */
    struct keyed_node node;
    struct authd *authd;
    ev_timer delay;
    uint64_t conn;
    uint16_t worker;
    bool hashing;
    bool forgotten;       /* no verdict is wanted */
    bool address_is_real; /* and not that of a proxy */
    char address[ADDRESS_TEXT_MAX + 1];
    struct slice user;
    uint8_t bytes[]; /* user name, then password */
};

static void send_verdict(struct authd *authd, uint16_t worker, uint64_t conn, uint8_t reason,
                         uint8_t flags, struct slice principal)
{
    struct ar_verdict verdict = {
        .worker = worker, .conn = conn, .reason = reason, .flags = flags, .principal = principal};

    if (authd->router.loop != NULL && channel_is_open(&authd->router))
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

static void audit_failure(struct authd *authd, const struct pending_check *check)
{
    json_t *event = json_pack("{s:s, s:s%, s:s, s:s}", "event", "authentication_failed", "user",
                              (const char *)check->user.data, (size_t)check->user.len, "address",
                              check->address, "reason", "bad user name or password");
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;

    if (text != NULL && strlen(text) <= CONTROL_ARGUMENT_MAX)
        child_audit(&authd->child, text);
    free(text);
    json_decref(event);
}

/* The helper has spoken. */
static void finish(struct pending_check *check)
{
    struct authd *authd = check->authd;
    double now = ev_now(authd->child.loop);
    struct slice password = slice_of(check->job.password, check->job.password_len);
    const struct user *user = users_find(authd->users, check->user);

    if (check->job.right && user != NULL) {
        cache_add(&authd->cache, now, check->user, user->stored, password);
        if (!check->forgotten)
            send_verdict(authd, check->worker, check->conn, REASON_SUCCESS, 0, check->user);
    } else {
        throttle_failed(&authd->throttle, now, THROTTLE_USER, check->user);
        if (check->address_is_real)
            throttle_failed(&authd->throttle, now, THROTTLE_ADDRESS, slice_text(check->address));
        audit_failure(authd, check);
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

static void start_hash(struct pending_check *check)
{
    struct authd *authd = check->authd;
    const struct user *user = users_find(authd->users, check->user);
    const char *stored = user != NULL ? user->stored : password_of_nobody();

    if (!throttle_admit(&authd->throttle, ev_now(authd->child.loop))) {
        send_verdict(authd, check->worker, check->conn, REASON_SERVER_BUSY, 0, slice_of(NULL, 0));
        pending_free(check);
        return;
    }
    check->hashing = true;
    check->job.known = user != NULL;
    memcpy(check->job.stored, stored, strlen(stored) + 1);
    hasher_submit(&authd->hasher, &check->job);
}

static void on_delay_over(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    (void)loop;
    (void)revents;
    start_hash(watcher->data);
}

/* Keeps what the check needs; NULL when there is no room. */
static struct pending_check *pending_new(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;
    size_t size = sizeof(struct pending_check) + m->user_name.len + m->password.len;

    if (authd->pending.count >= PENDING_MAX || authd->pending_bytes + size > PENDING_BYTES_MAX)
        return NULL;
    struct pending_check *check = calloc(1, size);
    VERIFY(check != NULL);
    check->authd = authd;
    check->conn = m->conn;
    check->worker = worker->index;
    memcpy(check->bytes, m->user_name.data, m->user_name.len);
    memcpy(check->bytes + m->user_name.len, m->password.data, m->password.len);
    check->user = slice_of(check->bytes, m->user_name.len);
    check->job.password = check->bytes + m->user_name.len;
    check->job.password_len = m->password.len;
    memcpy(check->address, m->address.data, m->address.len);
    bool behind_proxy = (authd->listener_flags[m->listener] &
                         (LISTENER_TRUST_HEADERS | LISTENER_PROXY_PROTOCOL)) != 0;
    check->address_is_real =
        m->address.len > 0 && (!behind_proxy || (m->flags & CREDENTIAL_PROXIED) != 0);
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
    struct pending_check *check = pending_new(worker, m);
    if (check == NULL) {
        send_verdict(authd, worker->index, m->conn, REASON_SERVER_BUSY, 0, slice_of(NULL, 0));
        return;
    }
    double delay = delay_for(authd, check);
    if (delay > 0) {
        ev_timer_set(&check->delay, delay, 0);
        ev_timer_start(authd->child.loop, &check->delay);
    } else {
        start_hash(check);
    }
}

bool check_credential(struct worker_link *worker, const struct wa_check *m)
{
    struct authd *authd = worker->authd;
    bool named = (m->flags & CREDENTIAL_USER_NAME) != 0;
    bool anonymous_allowed = authd->setup.allow_anonymous &&
                             (authd->listener_flags[m->listener] & LISTENER_ALLOW_ANONYMOUS) != 0;

    if (pending_find(authd, worker->index, m->conn) != NULL)
        return false;
    if (!named && anonymous_allowed)
        send_verdict(authd, worker->index, m->conn, REASON_SUCCESS, VERDICT_ANONYMOUS,
                     slice_of(NULL, 0));
    else if (!named)
        send_verdict(authd, worker->index, m->conn, REASON_NOT_AUTHORIZED, 0, slice_of(NULL, 0));
    else if (authd->users != NULL)
        check_password(worker, m);
    else if (authd->setup.claimed_names && anonymous_allowed)
        send_verdict(authd, worker->index, m->conn, REASON_SUCCESS, VERDICT_CLAIMED, m->user_name);
    else
        send_verdict(authd, worker->index, m->conn, REASON_BAD_CREDENTIALS, 0, slice_of(NULL, 0));
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
    throttle_init(&authd->throttle, setup->failure_delay_ms / 1000.0, setup->hash_rate,
                  ev_now(authd->child.loop));
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
    if (authd->router.loop != NULL && channel_is_open(&authd->router))
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
