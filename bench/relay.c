/* bulkhead-relay: the floor under any broker. The same socket work as passing messages from
 * clients to clients, with no MQTT: in one process, or through a second process at the other end of
 * a socket pair, as a worker and a router would. Listens on loopback until it is killed. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/fatal.h"
#include "bench/relay.h"

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
        fatal("cannot listen on port %u: %s", port, strerror(errno));
    return fd;
}

static void start_router(int pair[2], int listen_fd)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        fatal("socketpair: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0)
        fatal("fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_NAME, "relay-router");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        close(listen_fd);
        relay_router(pair[1]);
        exit(0);
    }
    close(pair[1]);
}

int main(int count, char **arguments)
{
    struct rlimit files;
    int pair[2] = {-1, -1};
    if (count != 3 || (strcmp(arguments[2], "1") != 0 && strcmp(arguments[2], "2") != 0))
        fatal("usage: bulkhead-relay PORT PROCESSES (1 or 2)");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listen_fd = listen_on((uint16_t)strtoul(arguments[1], NULL, 10));
    if (arguments[2][0] == '2')
        start_router(pair, listen_fd);
    relay_worker(listen_fd, pair[0]);
}
