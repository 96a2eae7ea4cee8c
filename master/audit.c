/* Audit events wait here, within bounds, while persistd is being replaced. */
#include "master/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAITING_BYTES_MAX = 4 * 1024 * 1024, EVENT_MAX = 2048 };

static struct {
    struct buf frames; /* encoded mc_audit */
    unsigned long lost;
} waiting;

static bool persistd_takes(struct master *m)
{
    struct process *p = master_process(m, ROLE_PERSISTD);
    return m->processes != NULL && p->state == PROCESS_READY && process_is_open(p);
}

void audit_forward(struct master *m, enum role role, pid_t pid, struct slice event)
{
    struct mc_audit message = {.role = (uint8_t)role, .pid = (uint32_t)pid, .event = event};

    if (!m->config->audit)
        return;
    if (persistd_takes(m))
        process_send(master_process(m, ROLE_PERSISTD), mc_audit, &message, -1);
    else if (buf_len(&waiting.frames) + event.len > WAITING_BYTES_MAX)
        waiting.lost++;
    else
        mc_audit_encode(&waiting.frames, &message);
}

void audit_event(struct master *m, const char *name, const char *members, ...)
{
    char text[EVENT_MAX];
    va_list arguments;

    int len = snprintf(text, sizeof(text), "{\"event\":\"%s\",", name);
    va_start(arguments, members);
    vsnprintf(text + len, sizeof(text) - (size_t)len - 1, members, arguments);
    va_end(arguments);
    strcat(text, "}");
    audit_forward(m, ROLE_MASTER, getpid(), slice_text(text));
}

void audit_flush(struct master *m)
{
    struct slice left = slice_of(buf_head(&waiting.frames), buf_len(&waiting.frames));

    while (left.len > 0 && persistd_takes(m)) {
        struct frame_header header;
        struct mc_audit message;
        memcpy(&header, left.data, sizeof(header));
        mc_audit_decode(slice_of(left.data + sizeof(header), header.length), &message);
        process_send(master_process(m, ROLE_PERSISTD), mc_audit, &message, -1);
        left = slice_of(left.data + sizeof(header) + header.length,
                        left.len - sizeof(header) - header.length);
    }
    buf_free(&waiting.frames);
    if (waiting.lost > 0) {
        unsigned long lost = waiting.lost;
        waiting.lost = 0;
        log_warning("%lu audit events were lost while persistd was away", lost);
        audit_event(m, "audit_lost", "\"count\":%lu", lost);
    }
}
