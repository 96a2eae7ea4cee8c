/* Asking the broker over its control socket. */
#include "ctl/ctl.h"

#include "common/control.h"
#include "common/proto_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct answer {
    struct control control;
    struct buf text;
    bool done;
    bool failed;
};

static bool on_ctl_reply(struct answer *answer, const struct ctl_reply *m)
{
    buf_append(&answer->text, m->text.data, m->text.len);
    answer->failed |= m->failed;
    answer->done = m->last;
    return true;
}

MESSAGE_DISPATCH(on_message, struct answer, MASTER_TO_CTL)

static void on_closed(void *context, const char *why)
{
    struct answer *answer = context;

    if (!answer->done) {
        ctl_fail("the broker ended the conversation: %s", why);
        answer->failed = true;
    }
    answer->done = true;
}

static bool connect_to(const char *path, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* In a folder that anyone may make, the socket's owner must be us. */
static bool is_ours(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && status.st_uid == geteuid();
}

static int connect_somewhere(const struct ctl *ctl)
{
    const char *named = ctl->socket != NULL ? ctl->socket : getenv("BULKHEAD_CONTROL_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char places[3][512];
    bool refused = false;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (named != NULL) {
        if (connect_to(named, fd))
            return fd;
        ctl_fail("cannot reach the broker at %s: %s; %s", named, strerror(errno),
                 errno == EACCES ? "run this as root, or as the broker's user"
                                 : "is it running, and is this its control_socket?");
        close(fd);
        return -1;
    }
    /* a user's own broker before the machine's */
    snprintf(places[0], sizeof(places[0]), "%.400s/bulkhead/control.sock",
             runtime != NULL ? runtime : "");
    snprintf(places[1], sizeof(places[1]), "/tmp/bulkhead-%u/control.sock", geteuid());
    snprintf(places[2], sizeof(places[2]), "/run/bulkhead/control.sock");
    for (int i = geteuid() == 0 ? 2 : 0; i < 3; i++) {
        if ((i == 2 || is_ours(places[i])) && connect_to(places[i], fd))
            return fd;
        refused |= i == 2 && errno == EACCES;
    }
    ctl_fail(refused ? "the broker of this machine is root's: run this as root"
                     : "no running broker was found; name its control socket with -s");
    close(fd);
    return -1;
}

/* The master's process id as this process sees it; another one when it runs in a container that
 * we look into from outside. */
static pid_t broker_pid;

static void note_broker(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        broker_pid = peer.pid;
}

char *ctl_ask(const struct ctl *ctl, const char *verb, const char *argument, int passed_fd)
{
    struct ctl_request request = {.verb = slice_text(verb), .argument = slice_text(argument)};
    struct answer answer = {0};
    int fd = connect_somewhere(ctl);
    char *text = NULL;

    if (fd < 0)
        return NULL;
    note_broker(fd);
    control_open(&answer.control, NULL, fd, on_message, on_closed, &answer);
    if (control_send_message(&answer.control, ctl_request, &request, passed_fd))
        control_receive_until(&answer.control, &answer.done);
    control_close(&answer.control);
    if (!answer.failed && answer.done) {
        buf_append(&answer.text, "", 1);
        text = strdup((const char *)buf_head(&answer.text));
    } else if (buf_len(&answer.text) > 0) {
        size_t len = buf_len(&answer.text);
        len -= buf_head(&answer.text)[len - 1] == '\n';
        ctl_fail("%.*s", (int)len, (const char *)buf_head(&answer.text));
    }
    buf_free(&answer.text);
    return text;
}

int ctl_ask_and_print(const struct ctl *ctl, const char *verb, const char *argument, int fd)
{
    char *text = ctl_ask(ctl, verb, argument, fd);

    if (text == NULL)
        return CTL_FAILED;
    size_t len = strlen(text);
    printf("%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
    free(text);
    return CTL_GOOD;
}

json_t *ctl_ask_status(const struct ctl *ctl)
{
    char *text = ctl_ask(ctl, "status", "", -1);
    json_error_t error;

    if (text == NULL)
        return NULL;
    json_t *status = json_loads(text, 0, &error);
    free(text);
    if (status == NULL) {
        ctl_fail("the broker's answer is not JSON: %s", error.text);
        return NULL;
    }
    const json_t *master = json_array_get(json_object_get(status, "processes"), 0);
    bool same = json_integer_value(json_object_get(master, "pid")) == broker_pid;
    json_object_set_new(status, "same_pids", json_boolean(same));
    return status;
}
