/* What audit_events may name. */
#include "common/audit_kinds.h"
#include "master/config_options.h"

#include <string.h>

#define KIND_NAME(name, from) #name,

static const char *const names[] = {AUDIT_KINDS(KIND_NAME)};

static bool is_known(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return true;
    }
    return false;
}

void config_check_audit(struct config *config)
{
    struct config_place place;

    if (!config_was_set(config, "audit_events", &place) || config->audit_events == NULL)
        return;
    for (const char *at = config->audit_events; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        if (!is_known(at, len))
            config_problem(config, LEVEL_ERROR, place,
                           "audit_events: there is no event '%.*s'; docs/AUDIT.md lists them",
                           (int)(len > 64 ? 64 : len), at);
        at += len;
        at += strspn(at, "\n");
    }
}
