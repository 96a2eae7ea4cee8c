/* The log's lines and where they go. */
#include "master/log_output.h"

#include "master/log_escape.h"
#include "master/log_syslog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* A line up to PIPE_BUF is written to a pipe whole or not at all. */
enum { LINE_MAX_BYTES = 4096, TEXT_ESCAPED_MAX = 3500 };

static struct {
    unsigned dest;
    unsigned levels;
    bool json;
    bool timestamp;
    int facility;
    char time_format[128];
    char file_path[4096];
    int file;
    unsigned long lost;
    log_topic_fn *publish;
    void *publish_context;
} output = {.dest = LOG_TO_STDERR,
            .levels = 1 << LEVEL_ERROR | 1 << LEVEL_WARNING | 1 << LEVEL_NOTICE | 1 << LEVEL_INFO,
            .file = -1};

static const char *const level_names[] = {"error", "warning", "notice", "information", "debug"};

/* Writes a line only where that does not wait. */
static void write_line(int fd, const char *line, size_t len)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0 ||
        write(fd, line, len) != (ssize_t)len)
        output.lost++;
}

static void write_syslog(int priority, const char *tag, const char *text)
{
    if (!log_syslog_write(priority, tag, text))
        output.lost++;
}

/* The format is the operator's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static bool format_own_time(char *out, size_t size, const struct tm *parts)
{
    return strftime(out, size, output.time_format, parts) > 0;
}
#pragma GCC diagnostic pop

static void format_time(char *out, size_t size)
{
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME, &now);
    out[0] = '\0';
    if (output.json && localtime_r(&now.tv_sec, &parts) != NULL) {
        char seconds[48];
        char zone[8];
        strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &parts);
        strftime(zone, sizeof(zone), "%z", &parts);
        snprintf(out, size, "%s.%03ld%.3s:%s", seconds, now.tv_nsec / 1000000, zone, zone + 3);
    } else if (output.time_format[0] == '\0') {
        snprintf(out, size, "%lld", (long long)now.tv_sec);
    } else if (localtime_r(&now.tv_sec, &parts) == NULL || !format_own_time(out, size, &parts)) {
        out[0] = '\0';
    }
}

static size_t format_line(char *line, int level, const char *process, pid_t pid, const char *text)
{
    char stamp[256];
    char quoted[2 * TEXT_ESCAPED_MAX];
    int len;

    format_time(stamp, sizeof(stamp));
    if (output.json) {
        log_json_quote(quoted, TEXT_ESCAPED_MAX, text);
        len = snprintf(line, LINE_MAX_BYTES,
                       "{\"time\":\"%s\",\"level\":\"%s\",\"process\":\"%s\",\"pid\":%d,"
                       "\"text\":\"%s\"}\n",
                       stamp, level_names[level], process, pid != 0 ? pid : getpid(), quoted);
    } else {
        const char *colon = output.timestamp ? ": " : "";
        if (!output.timestamp)
            stamp[0] = '\0';
        len = pid == 0 ? snprintf(line, LINE_MAX_BYTES, "%s%sbulkheadd: %s\n", stamp, colon, text)
                       : snprintf(line, LINE_MAX_BYTES, "%s%s%s[%d]: %s\n", stamp, colon, process,
                                  pid, text);
    }
    return len > 0 && len < LINE_MAX_BYTES ? (size_t)len : 0;
}

void log_output_audit(int64_t dest, struct slice line)
{
    char text[LOG_AUDIT_LINE_BYTES];

    if (line.len > sizeof(text) - 2)
        return;
    for (uint32_t i = 0; i < line.len; i++) {
        if (line.data[i] < ' ' || line.data[i] > '~')
            return;
        text[i] = (char)line.data[i];
    }
    text[line.len] = '\0';
    if ((dest & AUDIT_TO_SYSLOG) != 0)
        write_syslog(LOG_AUTHPRIV | LOG_NOTICE, "audit", text);
    if ((dest & AUDIT_TO_STDERR) != 0) {
        memcpy(text + line.len, "\n", 2);
        write_line(STDERR_FILENO, text, line.len + 1);
    }
}

void log_output_write(int level, const char *process, pid_t pid, struct slice text)
{
    static const int severities[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
    char escaped[TEXT_ESCAPED_MAX];
    char line[LINE_MAX_BYTES];

    if ((output.levels & 1u << level) == 0 || output.dest == LOG_TO_NONE)
        return;
    log_escape(escaped, sizeof(escaped), text);
    if (output.lost > 0) {
        size_t used = strlen(escaped);
        snprintf(escaped + used, sizeof(escaped) - used, " (%lu records before this one are lost)",
                 output.lost);
        output.lost = 0;
    }
    size_t len = format_line(line, level, process, pid, escaped);
    if ((output.dest & LOG_TO_STDERR) != 0)
        write_line(STDERR_FILENO, line, len);
    if ((output.dest & LOG_TO_STDOUT) != 0)
        write_line(STDOUT_FILENO, line, len);
    if ((output.dest & LOG_TO_FILE) != 0 && output.file >= 0)
        write_line(output.file, line, len);
    if ((output.dest & LOG_TO_TOPIC) != 0 && output.publish != NULL &&
        strcmp(process, "router") != 0) {
        char text_with_name[TEXT_MAX];
        snprintf(text_with_name, sizeof(text_with_name), "%.100s: %s", process, escaped);
        output.publish(output.publish_context, level, text_with_name);
    }
    if ((output.dest & LOG_TO_SYSLOG) != 0) {
        char tag[128] = "";
        if (pid != 0)
            snprintf(tag, sizeof(tag), "%.100s[%d]", process, pid);
        write_syslog(output.facility | severities[level], tag, escaped);
    }
}

void log_output_to_topic(log_topic_fn *publish, void *context)
{
    output.publish = publish;
    output.publish_context = context;
}

void log_output_own(void *context, int level, struct slice text)
{
    (void)context;
    log_output_write(level, "bulkheadd", 0, text);
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static void replace(int *fd, int by)
{
    if (*fd >= 0)
        close(*fd);
    *fd = by;
}

bool log_output_open(const struct config *config)
{
    int file = -1;

    if ((config->log_dest & LOG_TO_FILE) != 0 && (file = open_file(config->log_file)) < 0) {
        log_error("cannot open the log file %s: %s", config->log_file, strerror(errno));
        return false;
    }
    const char *to_syslog = (config->log_dest & LOG_TO_SYSLOG) != 0 ? "log_dest"
                            : config->audit && (config->audit_dest & AUDIT_TO_SYSLOG) != 0
                                ? "audit_dest"
                                : NULL;
    if (to_syslog != NULL && !log_syslog_connect()) {
        log_error("%s syslog: cannot reach syslog at /dev/log: %s", to_syslog, strerror(errno));
        replace(&file, -1);
        return false;
    }
    tzset();
    replace(&output.file, file);
    snprintf(output.file_path, sizeof(output.file_path), "%s",
             config->log_file != NULL ? config->log_file : "");
    output.dest = config->log_dest;
    output.levels = config->log_levels;
    output.json = config->log_format == 1;
    output.timestamp = config->log_timestamp;
    output.facility =
        config->log_facility < 0 ? LOG_DAEMON : LOG_LOCAL0 + (int)(config->log_facility << 3);
    snprintf(output.time_format, sizeof(output.time_format), "%s",
             config->log_timestamp_format != NULL ? config->log_timestamp_format : "");
    log_set_sink(log_output_own, NULL);
    log_set_level(log_output_level());
    return true;
}

void log_output_reopen(void)
{
    if ((output.dest & LOG_TO_FILE) == 0)
        return;
    int file = open_file(output.file_path);
    if (file < 0) {
        log_error("cannot open the log file %s again: %s", output.file_path, strerror(errno));
    } else {
        replace(&output.file, file);
    }
}

void log_output_ready(void)
{
    bool written = (output.dest & LOG_TO_STDERR) != 0 && !output.json &&
                   (output.levels & 1 << LEVEL_NOTICE) != 0;

    log_notice("ready");
    if (!written && dprintf(STDERR_FILENO, "bulkheadd: ready\n") < 0)
        log_warning("standard error is closed");
}

int log_output_level(void)
{
    int level = LEVEL_ERROR;

    for (int i = 0; i <= LEVEL_DEBUG; i++) {
        if ((output.levels & 1u << i) != 0)
            level = i;
    }
    return level;
}
