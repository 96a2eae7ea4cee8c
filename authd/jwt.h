/* One signed token (JWT, RFC 7519; compact JWS, RFC 7515): its signature, then its claims. What the
 * token says about itself is believed only after the signature. */
#ifndef BULKHEAD_AUTHD_JWT_H
#define BULKHEAD_AUTHD_JWT_H

#include "common/jwks.h"

#include <jansson.h>

enum { JWT_LEEWAY_S = 30 }; /* how far the clock of the issuer may be ahead */

/* What a token must say to be for us. */
struct jwt_rules {
    const char *issuer;
    const char *audiences; /* one a line; one of them is enough */
    const char *type;      /* the claim `type`; NULL: any */
};

/* A good token. */
struct jwt {
    json_t *claims; /* the caller's to release */
    uint64_t expires_at;
    const struct jwk *key; /* that signed it */
};

/* NULL when the token is good at `now` (Unix seconds); else a fixed text that says why not, with
 * nothing of the token in it. */
const char *jwt_verify(struct slice token, const struct jwks *keys, const struct jwt_rules *rules,
                       double now, struct jwt *jwt);

/* Whether the bytes have a token's form: three parts, the first of which begins a JSON object. */
bool jwt_looks_like_one(struct slice text);

/* Makes libcrypto load what verification needs; before the sandbox. */
void jwt_prepare(void);

#endif
