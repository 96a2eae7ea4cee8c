/* Identity tokens: where they come from, what they must say, and whom they name. */
#ifndef BULKHEAD_AUTHD_TOKENS_H
#define BULKHEAD_AUTHD_TOKENS_H

#include "authd/jwt.h"

#include "common/proto_control.h"

/* Cloudflare Access's, from the proxy's handshake; any issuer's, as a client's password. */
enum token_kind { TOKEN_ACCESS, TOKEN_PASSWORD, TOKEN_KINDS };

struct token_source {
    char issuer[NAME_MAX_BYTES + 1]; /* empty: there are no such tokens */
    char audiences[TEXT_MAX + 1];
    char user_claim[NAME_MAX_BYTES + 1]; /* not for Access, which has its own ways */
    struct jwks *keys;                   /* NULL: none was read yet, every token is refused */
    struct jwks *new_keys;               /* of a reload that has not ended */
};

struct tokens {
    struct token_source sources[TOKEN_KINDS];
};

/* Who a token says that its bearer is. */
struct token_identity {
    json_t *claims; /* holds the name; the caller releases it with token_identity_free() */
    struct slice user;
    uint64_t expires_at;
    uint64_t key; /* its name, see AR_TOKEN_KEYS */
};

/* Takes over the settings. */
void tokens_configure(struct tokens *tokens, const struct mc_authd_setup *setup);

static inline bool tokens_wanted(const struct tokens *tokens, enum token_kind kind)
{
    return tokens->sources[kind].issuer[0] != '\0';
}

/* Reads a key file beside the one in use. False with what is wrong in why. */
bool tokens_load(struct tokens *tokens, enum token_kind kind, struct slice file, int fd, char *why,
                 size_t size);

/* Takes the new key files into use, or forgets them. */
void tokens_commit(struct tokens *tokens);
void tokens_forget(struct tokens *tokens);

/* Writes the names of all keys in use; returns their length in bytes. */
uint32_t tokens_key_names(const struct tokens *tokens, uint8_t names[TOKEN_KEYS_MAX * 8]);

/* NULL when the token is good now (Unix seconds); else a fixed text that says why not. */
const char *tokens_verify(const struct tokens *tokens, enum token_kind kind, struct slice token,
                          double now, struct token_identity *who);

void token_identity_free(struct token_identity *who);

#endif
