/* The control socket. Each connection asks one thing. Only root and the broker's own user may. */
#include "master/commands.h"

#include "common/child.h"
#include "common/verify.h"
#include "master/log_escape.h"
#include "master/reload.h"
#include "master/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { OPERATORS_MAX = 32, PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) };

/* One connection of bulkheadctl's. */
struct operator
{
    struct master *master;
    struct control control; /* fd -1: the place is free */
    bool asked;
    uint32_t command; /* that a child has to answer; 0: none */
    const struct process *process;
};

static struct {
    int fd;
    char path[PATH_BYTES];
    ev_io acceptable;
    struct operator operators[OPERATORS_MAX];
    uint32_t last_command;
} commands = {.fd = -1};

static void reply(struct operator* o, bool last, bool failed, struct slice text)
{
    struct slice left = text;

    do {
        struct ctl_reply message = {.failed = failed, .text = left};
        if (left.len > CONTROL_ARGUMENT_MAX)
            message.text.len = CONTROL_ARGUMENT_MAX;
        left = slice_of(left.data + message.text.len, left.len - message.text.len);
        message.last = last && left.len == 0;
        control_send_message(&o->control, ctl_reply, &message, -1);
    } while (left.len > 0);
}

static void fail(struct operator* o, const char *why)
{
    reply(o, true, true, slice_text(why));
}

/* --- verbs that the master answers --- */

static void answer_status(struct operator* o)
{
    struct buf out = {0};

    status_write(o->master, &out);
    reply(o, true, false, slice_of(buf_head(&out), buf_len(&out)));
    buf_free(&out);
}

static void on_reload_done(void *context, bool good, const char *text)
{
    char answer[TEXT_MAX + 32];

    snprintf(answer, sizeof(answer), "%s%s", good ? "" : "nothing was changed: ", text);
    reply(context, true, !good, slice_text(answer));
}

static void answer_reload(struct operator* o)
{
    reload_begin(o->master, on_reload_done, o);
}

static void forward(struct operator* o, enum role role, const char *verb, struct slice argument,
                    int fd)
{
    struct process *p = master_process(o->master, role);
    struct mc_command command = {.verb = slice_text(verb), .argument = argument};

    if (p->state != PROCESS_READY) {
        fail(o, "the process that answers this is not running");
        return;
    }
    if (++commands.last_command == 0)
        commands.last_command = 1;
    o->command = command.id = commands.last_command;
    o->process = p;
    process_send(p, mc_command, &command, fd);
}

/* Every process is there and answers its heartbeats; persistd then writes, commits, reads back and
 * deletes a record. */
static void answer_health(struct operator* o)
{
    const struct master *m = o->master;
    ev_tstamp late = ev_now(m->loop) - (ev_tstamp)m->config->heartbeat_timeout / 2000;

    for (size_t i = 0; i < m->process_count; i++) {
        const struct process *p = &m->processes[i];
        char why[128];
        if (p->state == PROCESS_READY && (p->ping_sent == 0 || p->ping_sent > late))
            continue;
        snprintf(why, sizeof(why), "%s %s", p->title,
                 p->state == PROCESS_READY ? "does not answer" : "is not ready");
        fail(o, why);
        return;
    }
    if (m->config->persistence) {
        forward(o, ROLE_PERSISTD, "health", slice_text(""), -1);
    } else {
        reply(o, true, false, slice_text("healthy"));
    }
}

/* Who answers what. A role gets the request as MC_COMMAND. */
static const struct verb {
    const char *name;
    void (*answer)(struct operator* o); /* NULL: `role` does, */
    enum role role;
    const char *role_verb; /* under this verb */
} verbs[] = {
    {"status", answer_status, ROLE_MASTER, NULL},
    {"reload", answer_reload, ROLE_MASTER, NULL},
    {"health", answer_health, ROLE_MASTER, NULL},
    {"statistics", NULL, ROLE_ROUTER, "status"},
    {"store-export", NULL, ROLE_ROUTER, "store-export"},
    {"store-import", NULL, ROLE_ROUTER, "store-import"},
    {"store-check", NULL, ROLE_PERSISTD, "store-check"},
    {"store-compact", NULL, ROLE_PERSISTD, "store-compact"},
    {"store-backup", NULL, ROLE_PERSISTD, "store-backup"},
    {"store-restore", NULL, ROLE_PERSISTD, "store-restore"},
    {"key-rewrap", NULL, ROLE_PERSISTD, "key-rewrap"},
    {"key-rotate", NULL, ROLE_PERSISTD, "key-rotate"},
    {"audit-verify", NULL, ROLE_PERSISTD, "audit-verify"},
};

static bool on_ctl_request(struct operator* o, const struct ctl_request *m)
{
    int fd = control_take_fd(&o->control);
    const struct verb *verb = NULL;

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (slice_is(m->verb, verbs[i].name))
            verb = &verbs[i];
    }
    bool good = !o->asked; /* one request a connection */
    o->asked = true;
    if (good && verb == NULL) {
        fail(o, "the broker does not know this command; are bulkheadctl and bulkheadd of the same "
                "version?");
    } else if (good && verb->answer != NULL) {
        verb->answer(o);
    } else if (good) {
        forward(o, verb->role, verb->role_verb, m->argument, fd);
    }
    if (fd >= 0)
        close(fd);
    return good;
}

MESSAGE_DISPATCH(on_message, struct operator, CTL_TO_MASTER)

static void on_closed(void *context, const char *why)
{
    struct operator* o = context;

    (void)why;
    reload_forget(o);
    o->command = 0;
}

static bool is_allowed(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct master *m = watcher->data;
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)revents;
    if (fd < 0)
        return;
    if (!is_allowed(fd)) {
        log_warning("control socket: refused another user");
        close(fd);
        return;
    }
    for (size_t i = 0; i < OPERATORS_MAX; i++) {
        struct operator* o = & commands.operators[i];
        if (o->control.loop != NULL && o->control.fd >= 0)
            continue;
        *o = (struct operator){.master = m};
        control_open(&o->control, loop, fd, on_message, on_closed, o);
        return;
    }
    close(fd);
}

bool commands_answer(struct process *p, const struct cm_reply *m)
{
    for (size_t i = 0; i < OPERATORS_MAX; i++) {
        struct operator* o = & commands.operators[i];
        if (o->command == 0 || o->command != m->id || o->process != p)
            continue;
        reply(o, m->last, m->failed, m->text);
        if (m->last)
            o->command = 0;
        return true;
    }
    return m->id <= commands.last_command; /* whoever asked is gone */
}

void commands_process_gone(const struct process *p)
{
    for (size_t i = 0; i < OPERATORS_MAX; i++) {
        struct operator* o = & commands.operators[i];
        if (o->command != 0 && o->process == p) {
            o->command = 0;
            fail(o, "the process that should answer died");
        }
    }
}

/* --- the socket --- */

/* The folder of a default path: made for us alone. */
static bool make_folder(const char *path)
{
    char folder[PATH_BYTES];
    struct stat status;

    snprintf(folder, sizeof(folder), "%s", path);
    *strrchr(folder, '/') = '\0';
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return false;
    errno = EPERM;
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & 022) == 0;
}

static void default_path(char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0) {
        snprintf(path, size, "/run/bulkhead/control.sock");
    } else if (runtime != NULL && *runtime == '/' && strlen(runtime) < size - 40) {
        snprintf(path, size, "%s/bulkhead/control.sock", runtime);
    } else {
        snprintf(path, size, "/tmp/bulkhead-%u/control.sock", geteuid());
    }
}

static bool is_in_use(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                             errno == EAGAIN);

    if (fd >= 0)
        close(fd);
    return alive;
}

static bool open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;

    memcpy(address.sun_path, path, strlen(path) + 1);
    errno = EADDRINUSE;
    if (lstat(path, &status) == 0) {
        if (!S_ISSOCK(status.st_mode) || is_in_use(&address)) {
            errno = EADDRINUSE;
            return false;
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                listen(fd, OPERATORS_MAX) == 0;
    umask(mask);
    if (!good) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        errno = error;
        return false;
    }
    commands.fd = fd;
    memcpy(commands.path, path, strlen(path) + 1);
    return true;
}

bool commands_open(struct master *m)
{
    const char *wanted = m->config->control_socket;
    char path[PATH_BYTES];

    if (wanted != NULL && strlen(wanted) >= sizeof(path)) {
        log_error("control_socket: the path is longer than %zu bytes", sizeof(path) - 1);
        return false;
    }
    if (wanted != NULL) {
        snprintf(path, sizeof(path), "%s", wanted);
    } else {
        default_path(path, sizeof(path));
    }
    if ((wanted != NULL || make_folder(path)) && open_socket(path)) {
        log_info("control socket: %s", path);
        return true;
    }
    if (wanted != NULL) {
        log_error("control_socket %s: %s%s", path, strerror(errno),
                  errno == EADDRINUSE ? "; another broker runs with it: each needs its own" : "");
    } else {
        log_warning("bulkheadctl cannot reach this broker: %s: %s; another place can be given with "
                    "control_socket",
                    path, strerror(errno));
    }
    return wanted == NULL;
}

void commands_start(struct master *m)
{
    if (commands.fd < 0)
        return;
    ev_io_init(&commands.acceptable, on_acceptable, commands.fd, EV_READ);
    commands.acceptable.data = m;
    ev_io_start(m->loop, &commands.acceptable);
}

void commands_close(struct master *m)
{
    if (commands.fd < 0)
        return;
    if (m->loop != NULL)
        ev_io_stop(m->loop, &commands.acceptable);
    for (size_t i = 0; i < OPERATORS_MAX; i++) {
        if (commands.operators[i].control.loop != NULL)
            control_close(&commands.operators[i].control);
    }
    close(commands.fd);
    commands.fd = -1;
    unlink(commands.path);
}
