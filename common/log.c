/* Logging from any process. */
#include "common/log.h"

#include "common/limits.h"
#include "common/proto_control.h"
#include "common/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    log_sink_fn *sink;
    void *context;
    int level;
} log_state = {.level = LEVEL_NOTICE};

void log_set_sink(log_sink_fn *sink, void *context)
{
    log_state.sink = sink;
    log_state.context = context;
}

void log_set_level(int level)
{
    log_state.level = level;
}

static void PRINTF_LIKE(2, 0) log_record(int level, const char *format, va_list arguments)
{
    char text[TEXT_MAX];

    if (level > log_state.level)
        return;
    int len = vsnprintf(text, sizeof(text) - 1, format, arguments);
    if (len < 0)
        return;
    if ((size_t)len > sizeof(text) - 2)
        len = (int)sizeof(text) - 2;
    if (log_state.sink != NULL) {
        log_state.sink(log_state.context, level, slice_of(text, (size_t)len));
        return;
    }
    text[len] = '\n';
    if (write(STDERR_FILENO, text, (size_t)len + 1) < 0)
        return; /* there is nowhere left to say so */
}

#define LOG_AT(function, level)                                                                    \
    void function(const char *format, ...)                                                         \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        log_record(level, format, arguments);                                                      \
        va_end(arguments);                                                                         \
    }
LOG_AT(log_error, LEVEL_ERROR)
LOG_AT(log_warning, LEVEL_WARNING)
LOG_AT(log_notice, LEVEL_NOTICE)
LOG_AT(log_info, LEVEL_INFO)
LOG_AT(log_debug, LEVEL_DEBUG)

void log_fatal(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_record(LEVEL_ERROR, format, arguments);
    va_end(arguments);
    _exit(EXIT_FAILURE);
}

void verify_failed(const char *condition, const char *file, int line)
{
    log_error("internal error: '%s' does not hold at %s:%d", condition, file, line);
    abort();
}
