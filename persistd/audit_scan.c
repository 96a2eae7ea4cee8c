/* A reader for flat events. */
#include "persistd/audit_scan.h"

#include "persistd/audit.h"

enum {
    MEMBERS_MAX = 16,
    DIGITS_MAX = 18, /* any number of so many fits 64 bits */
};

static bool take(struct slice *rest, char wanted)
{
    if (rest->len == 0 || rest->data[0] != (uint8_t)wanted)
        return false;
    *rest = slice_of(rest->data + 1, rest->len - 1);
    return true;
}

static bool take_word(struct slice *rest, const char *word)
{
    size_t len = strlen(word);

    if (rest->len < len || memcmp(rest->data, word, len) != 0)
        return false;
    *rest = slice_of(rest->data + len, rest->len - len);
    return true;
}

/* A string of printable ASCII without escapes. */
static bool take_string(struct slice *rest, struct slice *string)
{
    uint32_t len = 0;

    if (!take(rest, '"'))
        return false;
    while (len < rest->len && rest->data[len] >= ' ' && rest->data[len] <= '~' &&
           rest->data[len] != '"' && rest->data[len] != '\\')
        len++;
    *string = slice_of(rest->data, len);
    *rest = slice_of(rest->data + len, rest->len - len);
    return take(rest, '"');
}

static bool take_number(struct slice *rest)
{
    uint32_t len = 0;

    while (len < rest->len && rest->data[len] >= '0' && rest->data[len] <= '9')
        len++;
    if (len == 0 || len > DIGITS_MAX || (len > 1 && rest->data[0] == '0'))
        return false;
    *rest = slice_of(rest->data + len, rest->len - len);
    return true;
}

/* *string stays empty when the value is something else. */
static bool take_value(struct slice *rest, struct slice *string)
{
    *string = slice_of(NULL, 0);
    if (rest->len > 0 && rest->data[0] == '"')
        return take_string(rest, string);
    return take_number(rest) || take_word(rest, "true") || take_word(rest, "false") ||
           take_word(rest, "null");
}

static bool is_among(struct slice member, const struct slice *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (slice_equal(member, names[i]))
            return true;
    }
    return false;
}

static bool is_added(struct slice member)
{
    for (size_t i = 0; audit_added[i] != NULL; i++) {
        if (slice_is(member, audit_added[i]))
            return true;
    }
    return false;
}

bool audit_scan(struct slice event, struct slice *name)
{
    struct slice members[MEMBERS_MAX];
    struct slice value;
    unsigned count = 0;

    *name = slice_of(NULL, 0);
    if (event.len > AUDIT_RECORD_MAX || !take(&event, '{'))
        return false;
    do {
        if (count == MEMBERS_MAX || !take_string(&event, &members[count]) ||
            is_added(members[count]) || is_among(members[count], members, count) ||
            !take(&event, ':') || !take_value(&event, &value))
            return false;
        if (slice_is(members[count], "event"))
            *name = value;
        count++;
    } while (take(&event, ','));
    return take(&event, '}') && event.len == 0 && name->len > 0;
}
