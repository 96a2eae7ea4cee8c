/* Checks an audit log: names the first record that does not hold. */
#include "persistd/audit.h"

#include "persistd/audit_chain.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

struct verification {
    const struct audit_log *log;
    bool with_chain;
    struct audit_check *check;
    uint64_t line;
    uint64_t sequence; /* of the record before; 0: none */
    uint8_t chain[AUDIT_CHAIN_SIZE];
    crypto_generichash_state digest;
    bool signed_here; /* the last record was a signature */
};

static bool wrong(struct verification *v, const char *problem)
{
    v->check->line = v->line;
    snprintf(v->check->problem, sizeof(v->check->problem), "%s", problem);
    return false;
}

static bool unhex(const json_t *record, const char *name, uint8_t *out, size_t size)
{
    const char *text = json_string_value(json_object_get(record, name));

    return text != NULL && strlen(text) == 2 * size &&
           sodium_hex2bin(out, size, text, 2 * size, NULL, NULL, NULL) == 0;
}

static bool check_signature(struct verification *v, const json_t *record)
{
    crypto_generichash_state state = v->digest;
    uint8_t digest[AUDIT_DIGEST_SIZE];
    uint8_t said[AUDIT_DIGEST_SIZE];
    uint8_t signature[crypto_sign_BYTES];

    crypto_generichash_final(&state, digest, sizeof(digest));
    if (!unhex(record, "digest", said, sizeof(said)) ||
        !unhex(record, "signature", signature, sizeof(signature)))
        return wrong(v, "the signature record is malformed");
    if (memcmp(digest, said, sizeof(digest)) != 0)
        return wrong(v, "something before this signature was altered, added or removed");
    if (crypto_sign_verify_detached(signature, digest, sizeof(digest), v->log->public_key) != 0)
        return wrong(v, "the signature is not of this broker's key");
    v->check->signatures++;
    return true;
}

static bool check_record(struct verification *v, const json_t *record)
{
    const char *event = json_string_value(json_object_get(record, "event"));
    uint64_t sequence = (uint64_t)json_integer_value(json_object_get(record, "sequence"));

    if (event == NULL || sequence == 0)
        return wrong(v, "the record has no event or no sequence");
    if (v->sequence != 0 && sequence != v->sequence + 1)
        return wrong(v, "a record is missing before this one, or was repeated");
    if (v->sequence == 0)
        v->check->first = sequence;
    v->sequence = v->check->last = sequence;
    v->signed_here = strcmp(event, "audit_signature") == 0;
    return !v->signed_here || check_signature(v, record);
}

static bool check_line(struct verification *v, char *line, size_t len)
{
    uint8_t chain[AUDIT_CHAIN_SIZE];
    struct slice body;

    if (!audit_line_split(slice_of(line, len), &body, chain))
        return wrong(v, "the line is no whole record");
    char saved = line[body.len];
    line[body.len] = '}';
    json_t *record = json_loadb(line, body.len + 1, 0, NULL);
    line[body.len] = saved;
    if (!json_is_object(record)) {
        json_decref(record);
        return wrong(v, "the line is no JSON object");
    }
    if (v->line == 1 && !unhex(record, "previous_chain", v->chain, sizeof(v->chain))) {
        json_decref(record);
        return wrong(v, "the file does not begin with audit_begin");
    }
    if (v->line == 1)
        memcpy(v->check->before, v->chain, sizeof(v->chain));
    audit_chain_next(v->log->chain_key, v->chain, body);
    bool good = !v->with_chain || memcmp(v->chain, chain, sizeof(chain)) == 0 ||
                wrong(v, "the record was altered, or one before it was removed");
    memcpy(v->chain, chain, sizeof(chain));
    good = good && check_record(v, record);
    json_decref(record);
    crypto_generichash_update(&v->digest, (const uint8_t *)line, len);
    return good;
}

void audit_verify(const struct audit_log *log, FILE *file, bool with_chain,
                  struct audit_check *check)
{
    struct verification v = {.log = log, .with_chain = with_chain, .check = check};
    char *line = NULL;
    size_t room = 0;
    ssize_t len;

    *check = (struct audit_check){0};
    crypto_generichash_init(&v.digest, NULL, 0, AUDIT_DIGEST_SIZE);
    while ((len = getline(&line, &room, file)) > 0) {
        v.line++;
        if (!check_line(&v, line, (size_t)len))
            break;
        check->records++;
    }
    memcpy(check->after, v.chain, sizeof(v.chain));
    free(line);
}
