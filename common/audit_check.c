/* The check of an audit log: one pass over each file, which keeps no more than one line of it. */
#include "common/audit_check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>

struct checking {
    const struct audit_keys *keys;
    struct audit_check *check;
    uint64_t line;
    crypto_generichash_state digest;
};

static bool wrong(struct checking *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool wrong(struct checking *c, const char *format, ...)
{
    va_list arguments;

    c->check->line = c->line;
    va_start(arguments, format);
    vsnprintf(c->check->problem, sizeof(c->check->problem), format, arguments);
    va_end(arguments);
    return false;
}

static bool unhex(const json_t *record, const char *name, uint8_t *out, size_t size)
{
    const json_t *text = json_object_get(record, name);

    return json_string_length(text) == 2 * size &&
           sodium_hex2bin(out, size, json_string_value(text), 2 * size, NULL, NULL, NULL) == 0;
}

static bool is_event(const json_t *record, const char *event)
{
    return strcmp(json_string_value(json_object_get(record, "event")), event) == 0;
}

static bool check_begin(struct checking *c, const json_t *record)
{
    struct audit_check *check = c->check;
    const uint8_t *wanted = c->keys->public_key;

    if (!is_event(record, "audit_begin") ||
        !unhex(record, "public_key", check->public_key, sizeof(check->public_key)) ||
        !unhex(record, "previous_chain", check->before, sizeof(check->before)))
        return wrong(c, "the file does not begin with audit_begin");
    if (wanted != NULL && memcmp(wanted, check->public_key, sizeof(check->public_key)) != 0)
        return wrong(c, "the file names another public key");
    memcpy(check->after, check->before, sizeof(check->after));
    return true;
}

static bool check_sequence(struct checking *c, const json_t *record)
{
    json_int_t sequence = json_integer_value(json_object_get(record, "sequence"));

    if (sequence <= 0)
        return wrong(c, "the record has no sequence");
    if (c->line == 1)
        c->check->first = (uint64_t)sequence;
    else if ((uint64_t)sequence != c->check->last + 1)
        return wrong(c, "a record is missing before this one, or was repeated");
    c->check->last = (uint64_t)sequence;
    return true;
}

static bool check_chain(struct checking *c, struct slice body, const uint8_t said[AUDIT_CHAIN_SIZE])
{
    uint8_t chain[AUDIT_CHAIN_SIZE];

    memcpy(chain, c->check->after, sizeof(chain));
    memcpy(c->check->after, said, sizeof(chain));
    if (c->keys->chain_key == NULL)
        return true;
    audit_chain_next(c->keys->chain_key, chain, body);
    return memcmp(chain, said, sizeof(chain)) == 0 ||
           wrong(c, "the record was altered, or one before it was removed");
}

static bool check_signature(struct checking *c, const json_t *record)
{
    const uint8_t *key = c->keys->public_key != NULL ? c->keys->public_key : c->check->public_key;
    crypto_generichash_state state = c->digest;
    uint8_t digest[AUDIT_DIGEST_SIZE];
    uint8_t said[AUDIT_DIGEST_SIZE];
    uint8_t signature[crypto_sign_BYTES];

    crypto_generichash_final(&state, digest, sizeof(digest));
    if (!unhex(record, "digest", said, sizeof(said)) ||
        !unhex(record, "signature", signature, sizeof(signature)))
        return wrong(c, "the signature record is malformed");
    if (memcmp(digest, said, sizeof(digest)) != 0)
        return wrong(c,
                     "of lines %" PRIu64 " to %" PRIu64 ", before this signature, something was "
                     "altered, added or removed",
                     c->check->signature_line + (c->check->signature_line == 0), c->line - 1);
    if (crypto_sign_verify_detached(signature, digest, sizeof(digest), key) != 0)
        return wrong(c, "the signature is not of this broker's key");
    c->check->signatures++;
    c->check->signature_line = c->line;
    return true;
}

/* What the broker found when it came back, and told of: nothing else shows it without the chain's
 * key, and nothing at all when it was the beginning of the oldest file. */
static bool check_damage(struct checking *c, const json_t *record)
{
    const char *reason = json_string_value(json_object_get(record, "reason"));

    if (!is_event(record, "audit_damaged") ||
        (reason != NULL && strcmp(reason, AUDIT_HALF_WRITTEN) == 0))
        return true;
    return wrong(c, "the broker says that records before this one were altered or cut off");
}

static bool check_record(struct checking *c, const json_t *record, struct slice body,
                         const uint8_t chain[AUDIT_CHAIN_SIZE])
{
    if (!json_is_object(record))
        return wrong(c, "the line is no JSON object");
    if (!json_is_string(json_object_get(record, "event")))
        return wrong(c, "the record has no event");
    return (c->line != 1 || check_begin(c, record)) && check_chain(c, body, chain) &&
           check_sequence(c, record) && check_damage(c, record) &&
           (!is_event(record, "audit_signature") || check_signature(c, record));
}

static bool check_line(struct checking *c, struct slice line)
{
    uint8_t chain[AUDIT_CHAIN_SIZE];
    struct slice body;

    if (!audit_line_split(line, &body, chain))
        return wrong(c, "the line is no whole record");
    json_t *record =
        json_loadb((const char *)line.data, line.len - 1, JSON_REJECT_DUPLICATES, NULL);
    bool good = check_record(c, record, body, chain);
    json_decref(record);
    crypto_generichash_update(&c->digest, line.data, line.len);
    return good;
}

/* The next line with its line feed, or as much as a record can have; empty at the end. */
static struct slice read_line(FILE *file, uint64_t size, char line[AUDIT_LINE_MAX])
{
    size_t len = 0;
    int byte = 0;

    while (len < AUDIT_LINE_MAX && len < size && byte != '\n' &&
           (byte = getc_unlocked(file)) != EOF)
        line[len++] = (char)byte;
    return slice_of(line, len);
}

void audit_check_file(FILE *file, uint64_t size, const struct audit_keys *keys,
                      struct audit_check *check)
{
    struct checking c = {.keys = keys, .check = check, .line = 1};
    char text[AUDIT_LINE_MAX];
    struct slice line;

    *check = (struct audit_check){0};
    audit_digest_begin(&c.digest);
    for (; (line = read_line(file, size, text)).len > 0; c.line++) {
        size -= line.len;
        if (!check_line(&c, line))
            return;
        check->records++;
    }
    if (ferror(file))
        wrong(&c, "the file cannot be read on");
    else if (check->records == 0)
        wrong(&c, "the file is empty");
}

bool audit_check_joins(const struct audit_check *older, const struct audit_check *newer)
{
    return older->last + 1 == newer->first &&
           memcmp(older->after, newer->before, sizeof(older->after)) == 0;
}
