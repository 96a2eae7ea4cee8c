/* Records to syslog, without the C library's syslog(), which makes sockets when it likes. */
#include "master/log_syslog.h"

#include "master/log_output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int syslog_fd = -1;

void log_syslog_prepare(void)
{
    syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool log_syslog_connect(void)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

    return connect(syslog_fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool send_line(const char *line, size_t len)
{
    return send(syslog_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

bool log_syslog_write(int priority, const char *tag, const char *text)
{
    char line[LOG_AUDIT_LINE_BYTES + 128];
    char stamp[32];
    time_t now = time(NULL);
    struct tm parts;

    if (localtime_r(&now, &parts) == NULL ||
        strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &parts) == 0)
        return false;
    int len = snprintf(line, sizeof(line), "<%d>%s bulkheadd[%d]: %s%s%s", priority, stamp,
                       getpid(), tag, *tag != '\0' ? ": " : "", text);
    if (len < 0 || (size_t)len >= sizeof(line))
        return false;
    if (send_line(line, (size_t)len))
        return true;
    /* full is not gone */
    return errno != EAGAIN && log_syslog_connect() && send_line(line, (size_t)len);
}
