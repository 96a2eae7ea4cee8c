/* Topic names and topic filters. */
#include "common/topic.h"

#include "common/limits.h"
#include "common/mqtt_wire.h"

static bool levels_within_limit(struct slice text)
{
    unsigned levels = 1;

    for (uint32_t i = 0; i < text.len; i++)
        levels += text.data[i] == '/';
    return levels <= TOPIC_LEVELS_MAX;
}

bool topic_name_valid(struct slice name)
{
    return name.len > 0 && name.len <= MQTT_STRING_MAX &&
           memchr(name.data, '+', name.len) == NULL && memchr(name.data, '#', name.len) == NULL &&
           mqtt_utf8_valid(name) && levels_within_limit(name);
}

/* Wildcards stand alone in their level, and # only in the last. */
static bool wildcards_valid(struct slice filter)
{
    for (uint32_t i = 0; i < filter.len; i++) {
        uint8_t byte = filter.data[i];
        if (byte != '+' && byte != '#')
            continue;
        bool starts_level = i == 0 || filter.data[i - 1] == '/';
        bool ends_level = i + 1 == filter.len || filter.data[i + 1] == '/';
        if (!starts_level || !ends_level || (byte == '#' && i + 1 != filter.len))
            return false;
    }
    return true;
}

bool topic_filter_parse(struct slice text, struct topic_filter *filter)
{
    static const char share[] = "$share/";
    const uint32_t prefix = sizeof(share) - 1;

    *filter = (struct topic_filter){.filter = text};
    if (text.len == 0 || text.len > MQTT_STRING_MAX || !mqtt_utf8_valid(text))
        return false;
    if (slice_is(text, "$share"))
        return false;
    if (text.len >= prefix && memcmp(text.data, share, prefix) == 0) {
        const uint8_t *name = text.data + prefix;
        const uint8_t *slash = memchr(name, '/', text.len - prefix);
        if (slash == NULL || slash == name)
            return false;
        filter->group = slice_of(name, (size_t)(slash - name));
        filter->filter = slice_of(slash + 1, (size_t)(text.data + text.len - slash - 1));
        if (memchr(filter->group.data, '+', filter->group.len) != NULL ||
            memchr(filter->group.data, '#', filter->group.len) != NULL)
            return false;
    }
    return filter->filter.len > 0 && wildcards_valid(filter->filter) &&
           levels_within_limit(filter->filter);
}

/* The level that starts at *at; moves *at behind its separator, or past the end. */
static struct slice next_level(struct slice text, uint32_t *at)
{
    uint32_t start = *at;
    const uint8_t *slash = memchr(text.data + start, '/', text.len - start);
    uint32_t end = slash == NULL ? text.len : (uint32_t)(slash - text.data);

    *at = end + 1;
    return slice_of(text.data + start, end - start);
}

bool topic_matches(struct slice filter, struct slice name)
{
    uint32_t filter_at = 0;
    uint32_t name_at = 0;

    if (name.len > 0 && name.data[0] == '$' && filter.len > 0 && filter.data[0] != '$')
        return false;
    while (filter_at <= filter.len) {
        struct slice want = next_level(filter, &filter_at);
        if (slice_is(want, "#"))
            return true; /* also the parent level: "a/#" matches "a" */
        if (name_at > name.len)
            return false;
        struct slice have = next_level(name, &name_at);
        if (!slice_is(want, "+") && !slice_equal(want, have))
            return false;
    }
    return name_at > name.len;
}
