/* bulkhead-authd: says who a client is.
 * Holds password hashes and token keys. May touch its channels to the master, the workers and the
 * router. Never has the network, the file system after its start, or a say in what a client may
 * do. */
#include "authd/authd.h"

#include "common/descriptor.h"
#include "common/log.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINK_HIGH = 1024 * 1024, PASSWORD_FILE_MAX = 64 * 1024 * 1024 };

static struct authd authd;

static bool on_wa_check(struct worker_link *worker, const struct wa_check *m)
{
    if (m->listener != worker->listener || !check_credential(worker, m))
        return false;
    if (channel_congested(&worker->authd->router))
        channel_pause(&worker->channel); /* until the router has taken its verdicts */
    return true;
}

static bool on_wa_forget(struct worker_link *worker, const struct wa_forget *m)
{
    check_forget(worker, m->conn);
    return true;
}

MESSAGE_DISPATCH(handle_worker_message, struct worker_link, WORKER_TO_AUTHD)

/* The buffer is ours, and need not keep a password or token. */
static bool on_worker_message(void *opaque, unsigned state, uint16_t type, struct slice body)
{
    struct worker_link *worker = opaque;
    bool good = handle_worker_message(worker, state, type, body);

    if (channel_is_open(&worker->channel)) /* the frame is still at the buffer's head */
        explicit_bzero(buf_head(&worker->channel.in) + sizeof(struct frame_header), body.len);
    return good;
}

static bool on_router_message(void *opaque, unsigned state, uint16_t type, struct slice body)
{
    (void)opaque;
    (void)state;
    (void)type;
    (void)body;
    return false; /* the router has nothing to say to authd */
}

static void on_worker_closed(void *context, const char *why)
{
    struct worker_link *worker = context;
    log_info("channel of worker %u: %s", worker->index, why);
    if (worker->channel.broken)
        child_accuse(&worker->authd->child, ROLE_WORKER, worker->index);
    check_forget_worker(worker);
}

static void resume_workers(void *context)
{
    struct authd *a = context;

    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (a->workers[i].channel.loop != NULL)
            channel_resume(&a->workers[i].channel);
    }
}

static void on_router_closed(void *context, const char *why)
{
    log_info("channel of the router: %s", why);
    resume_workers(context);
}

static const struct channel_handlers worker_handlers = {.frame = on_worker_message,
                                                        .closed = on_worker_closed};
static const struct channel_handlers router_handlers = {
    .frame = on_router_message, .closed = on_router_closed, .drained = resume_workers};

static bool take_setup(void *context, const struct mc_authd_setup *m)
{
    struct authd *a = context;

    a->setup = *m; /* of which the texts are gone when the message is */
    tokens_configure(&a->tokens, m);
    return true;
}

static bool take_listener(void *context, const struct mc_listener *m, int fd)
{
    struct authd *a = context;
    a->listener_flags[m->id] = m->flags;
    return fd < 0;
}

/* Parses a password file; false with reload_error. */
static bool load_users(struct authd *a, struct slice name, int fd)
{
    size_t len;
    char *text = descriptor_read_all(fd, PASSWORD_FILE_MAX, &len);

    if (text == NULL) {
        snprintf(a->reload_error, sizeof(a->reload_error), "%.*s: cannot be read: %s",
                 SLICE_ARGS(name), strerror(errno));
        return false;
    }
    users_free(a->new_users);
    a->new_users = users_parse(text, len, name, a->reload_error, sizeof(a->reload_error));
    return a->new_users != NULL;
}

static void take_new_users(struct authd *a)
{
    if (a->new_users == NULL)
        return;
    revoke_changed(a, a->users, a->new_users);
    users_free(a->users);
    a->users = a->new_users;
    a->new_users = NULL;
    a->generation++;
    log_info("%zu users in the password file", a->users->table.count);
}

/* Reads one file into the shadow; false with reload_error. */
static bool load_file(struct authd *a, const struct mc_file *m, int fd)
{
    char why[TEXT_MAX] = "";

    if (m->kind == FILE_PASSWORD)
        return load_users(a, m->name, fd);
    enum token_kind kind = m->kind == FILE_JWKS ? TOKEN_ACCESS : TOKEN_PASSWORD;
    if (tokens_load(&a->tokens, kind, m->name, fd, why, sizeof(why)))
        return true;
    memcpy(a->reload_error, why, sizeof(why));
    return false;
}

static bool take_file(void *context, const struct mc_file *m, int fd)
{
    struct authd *a = context;

    if (fd < 0)
        return false;
    if (m->kind != FILE_PASSWORD && m->kind != FILE_JWKS && m->kind != FILE_JWT_JWKS) {
        close(fd);
        return false;
    }
    bool good = load_file(a, m, fd);
    close(fd);
    if (a->child.started)
        return true; /* a reload: MC_RELOAD asks how it went */
    if (!good)
        log_fatal("%s", a->reload_error);
    take_new_users(a);
    tokens_commit(&a->tokens);
    return true;
}

static bool take_reload(void *context, const struct mc_reload *m)
{
    struct authd *a = context;
    struct cm_reloaded reloaded = {.epoch = m->epoch,
                                   .good = a->reload_error[0] == '\0',
                                   .reason = slice_text(a->reload_error)};

    control_send_message(&a->child.control, cm_reloaded, &reloaded, -1);
    return true;
}

static bool take_reload_end(void *context, const struct mc_reload_end *m)
{
    struct authd *a = context;

    a->reload_error[0] = '\0';
    if (m->commit) {
        take_new_users(a);
        tokens_commit(&a->tokens);
        announce_token_keys(a);
        announce_in_force(a, m->epoch);
    } else {
        tokens_forget(&a->tokens);
        users_free(a->new_users);
        a->new_users = NULL;
    }
    return true;
}

/* Whether nobody can be a user who is not in the password file. */
static bool names_are_all_ours(const struct authd *a)
{
    return a->users != NULL && !a->setup.tokens;
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    struct authd *a = context;

    if (fd < 0 || (m->role != ROLE_ROUTER && m->role != ROLE_WORKER))
        return false;
    struct worker_link *worker = &a->workers[m->index];
    struct channel *channel = m->role == ROLE_ROUTER ? &a->router : &worker->channel;
    if (channel->loop != NULL && channel_is_open(channel)) {
        channel_close(channel);
        if (m->role == ROLE_WORKER)
            check_forget_worker(worker);
    }
    if (m->role == ROLE_ROUTER) {
        channel_open(channel, a->child.loop, fd, LINK_HIGH, &router_handlers, a);
        announce_token_keys(a);
        resume_workers(a);
    } else {
        worker->authd = a;
        worker->index = m->index;
        worker->listener = m->listener;
        channel_open(channel, a->child.loop, fd, LINK_HIGH, &worker_handlers, worker);
    }
    channel->state = CHANNEL_RUNNING;
    if (m->role == ROLE_ROUTER && names_are_all_ours(a))
        announce_users(a);
    return true;
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    struct authd *a = context;
    (void)m;
    child_stop(&a->child);
    return true;
}

static void end_turn(void *context)
{
    struct authd *a = context;
    if (a->router.loop != NULL)
        channel_flush(&a->router);
}

static const struct child_handlers handlers = {
    .authd_setup = take_setup,
    .listener = take_listener,
    .file = take_file,
    .reload = take_reload,
    .reload_end = take_reload_end,
    .peer = take_peer,
    .drain = take_drain,
    .turn = end_turn,
};

int main(void)
{
    static const struct sandbox_options needs = {.filter = &sandbox_filter, .threads = true};

    json_object_seed(0); /* opens /dev/urandom, which the first event would be too late for */
    password_prepare();
    jwt_prepare();
    keyed_table_init(&authd.pending);
    child_begin(&authd.child, ROLE_AUTHD, &handlers, &authd);
    child_confine(&authd.child, &needs);
    check_start(&authd);
    child_ready(&authd.child, authd.child.confined.text);
    child_run(&authd.child);
    return EXIT_SUCCESS;
}
