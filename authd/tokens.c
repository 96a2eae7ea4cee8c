/* Token issuers and the names that their tokens give. */
#include "authd/tokens.h"

#include "common/descriptor.h"
#include "common/log.h"
#include "common/mqtt_wire.h"
#include "common/verify.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kind_names[] = {"Access tokens", "tokens as passwords"};

static void copy_text(char *to, size_t size, struct slice text)
{
    VERIFY(text.len < size);
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
}

void tokens_configure(struct tokens *tokens, const struct mc_authd_setup *setup)
{
    struct token_source *access = &tokens->sources[TOKEN_ACCESS];
    struct token_source *jwt = &tokens->sources[TOKEN_PASSWORD];

    copy_text(access->issuer, sizeof(access->issuer), setup->access_issuer);
    copy_text(access->audiences, sizeof(access->audiences), setup->access_audience);
    copy_text(jwt->issuer, sizeof(jwt->issuer), setup->jwt_issuer);
    copy_text(jwt->audiences, sizeof(jwt->audiences), setup->jwt_audience);
    copy_text(jwt->user_claim, sizeof(jwt->user_claim), setup->jwt_user_claim);
}

/* --- keys --- */

bool tokens_load(struct tokens *tokens, enum token_kind kind, struct slice file, int fd, char *why,
                 size_t size)
{
    struct token_source *source = &tokens->sources[kind];
    size_t len;
    char *text = descriptor_read_all(fd, JWKS_FILE_MAX, &len);

    if (text == NULL) {
        snprintf(why, size, "%.*s: cannot be read: %s", SLICE_ARGS(file), strerror(errno));
        return false;
    }
    jwks_free(source->new_keys);
    source->new_keys = jwks_parse(text, len, file, why, size);
    free(text);
    return source->new_keys != NULL;
}

void tokens_commit(struct tokens *tokens)
{
    for (int kind = 0; kind < TOKEN_KINDS; kind++) {
        struct token_source *source = &tokens->sources[kind];
        if (source->new_keys == NULL)
            continue;
        jwks_free(source->keys);
        source->keys = source->new_keys;
        source->new_keys = NULL;
        log_info("%zu keys for %s of %s", source->keys->count, kind_names[kind], source->issuer);
    }
}

void tokens_forget(struct tokens *tokens)
{
    for (int kind = 0; kind < TOKEN_KINDS; kind++) {
        jwks_free(tokens->sources[kind].new_keys);
        tokens->sources[kind].new_keys = NULL;
    }
}

static void hash_text(crypto_generichash_state *state, const char *text)
{
    crypto_generichash_update(state, (const uint8_t *)text, strlen(text) + 1);
}

/* The name of a key with all that its tokens are judged by: when any of it changes, it is another.
 * The same in every authd, so that a replaced one does not end anybody's connection. */
static uint64_t name_key(const struct token_source *source, const struct jwk *key)
{
    crypto_generichash_state state;
    uint8_t hash[crypto_generichash_BYTES];
    uint64_t name;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    hash_text(&state, source->issuer);
    hash_text(&state, source->audiences);
    hash_text(&state, source->user_claim);
    hash_text(&state, key->id);
    crypto_generichash_update(&state, key->fingerprint, sizeof(key->fingerprint));
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(&name, hash, sizeof(name));
    return name != 0 ? name : 1;
}

uint32_t tokens_key_names(const struct tokens *tokens, uint8_t names[TOKEN_KEYS_MAX * 8])
{
    uint32_t len = 0;

    for (int kind = 0; kind < TOKEN_KINDS; kind++) {
        const struct token_source *source = &tokens->sources[kind];
        if (source->keys == NULL || source->issuer[0] == '\0')
            continue;
        for (size_t i = 0; i < source->keys->count; i++) {
            uint64_t name = name_key(source, &source->keys->keys[i]);
            memcpy(names + len, &name, sizeof(name));
            len += sizeof(name);
        }
    }
    return len;
}

/* --- identities --- */

/* The claim's text. An empty one is as good as none; anything but a text is an error. */
static bool read_name(const json_t *claims, const char *claim, struct slice *name)
{
    const json_t *value = json_object_get(claims, claim);

    *name = slice_of(json_string_value(value), json_string_length(value));
    return value == NULL || json_is_string(value);
}

static const char *choose_user(const struct tokens *tokens, enum token_kind kind,
                               const json_t *claims, struct slice *user)
{
    /* a person has an address, a service token a common name and an empty sub */
    static const char *const access_claims[] = {"email", "common_name", "sub", NULL};
    const char *const own_claims[] = {tokens->sources[kind].user_claim, NULL};
    const char *const *claim = kind == TOKEN_ACCESS ? access_claims : own_claims;

    *user = slice_of(NULL, 0);
    for (; *claim != NULL && user->len == 0; claim++) {
        if (!read_name(claims, *claim, user))
            return "the name in it is no text";
    }
    if (user->len == 0)
        return "it names nobody";
    return mqtt_utf8_valid(*user) && user->len <= CREDENTIAL_MAX ? NULL
                                                                 : "the name in it cannot be";
}

const char *tokens_verify(const struct tokens *tokens, enum token_kind kind, struct slice token,
                          double now, struct token_identity *who)
{
    const struct token_source *source = &tokens->sources[kind];
    const struct jwt_rules rules = {.issuer = source->issuer,
                                    .audiences = source->audiences,
                                    .type = kind == TOKEN_ACCESS ? "app" : NULL};
    struct jwt jwt;

    *who = (struct token_identity){0};
    if (source->keys == NULL || source->issuer[0] == '\0')
        return "there are no keys to check it with";
    const char *wrong = jwt_verify(token, source->keys, &rules, now, &jwt);
    if (wrong != NULL)
        return wrong;
    wrong = choose_user(tokens, kind, jwt.claims, &who->user);
    if (wrong != NULL) {
        json_decref(jwt.claims);
        return wrong;
    }
    who->claims = jwt.claims;
    who->expires_at = jwt.expires_at;
    who->key = name_key(source, jwt.key);
    return NULL;
}

void token_identity_free(struct token_identity *who)
{
    json_decref(who->claims);
    *who = (struct token_identity){0};
}
