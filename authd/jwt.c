/* Verifying a signed token. */
#include "authd/jwt.h"

#include "common/verify.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { ES256_SIZE = 64, ES256_DER_MAX = 80, RSA_SIZE_MAX = 512 };

/* Later times make no sense, and would overflow: the end of the year 9999. */
static const double TIME_MAX = 253402300799.0;

/* The parts of a token as they were sent. */
struct parts {
    struct slice header;
    struct slice payload;
    struct slice signature;
    struct slice is_signed; /* header, dot, payload */
};

static bool split(struct slice token, struct parts *parts)
{
    const uint8_t *end = token.data + token.len;
    const uint8_t *first = token.len > 0 ? memchr(token.data, '.', token.len) : NULL;
    const uint8_t *second =
        first != NULL ? memchr(first + 1, '.', (size_t)(end - first) - 1) : NULL;

    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second) - 1) != NULL)
        return false;
    parts->header = slice_of(token.data, (size_t)(first - token.data));
    parts->payload = slice_of(first + 1, (size_t)(second - first) - 1);
    parts->signature = slice_of(second + 1, (size_t)(end - second) - 1);
    parts->is_signed = slice_of(token.data, (size_t)(second - token.data));
    return parts->header.len > 0 && parts->payload.len > 0 && parts->signature.len > 0;
}

bool jwt_looks_like_one(struct slice text)
{
    struct parts parts;

    return text.len > 3 && memcmp(text.data, "eyJ", 3) == 0 && split(text, &parts);
}

/* Decodes one part into a JSON object; NULL: it is none. Each part is smaller than
 * ACCESS_TOKEN_MAX. */
static json_t *read_object(struct slice part)
{
    uint8_t bytes[ACCESS_TOKEN_MAX];
    size_t len = 0;
    json_t *object = NULL;

    if (sodium_base642bin(bytes, sizeof(bytes), (const char *)part.data, part.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0)
        object = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
    sodium_memzero(bytes, sizeof(bytes));
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

/* Chooses the key. The algorithm is the key's; the token may only agree. */
static const char *choose_key(const json_t *header, const struct jwks *keys, const struct jwk **key)
{
    const char *algorithm = json_string_value(json_object_get(header, "alg"));
    const json_t *id = json_object_get(header, "kid");

    if (json_object_get(header, "crit") != NULL)
        return "it asks for an extension"; /* RFC 7515, 4.1.11 */
    if (algorithm == NULL || !json_is_string(id))
        return "it does not name its algorithm and key";
    *key = jwks_find(keys, json_string_value(id));
    if (*key == NULL)
        return "no key has the id that it names";
    if (strcmp(algorithm, jwt_algorithm_name((*key)->algorithm)) != 0)
        return "its algorithm is not that of its key";
    return NULL;
}

/* --- the signature --- */

/* The two numbers, one behind the other (RFC 7518, 3.4), as libcrypto wants them. */
static size_t ecdsa_to_der(const uint8_t *raw, uint8_t der[ES256_DER_MAX])
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_SIZE / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_SIZE / 2, ES256_SIZE / 2, NULL);

    VERIFY(signature != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(signature, r, s) == 1);
    int len = i2d_ECDSA_SIG(signature, NULL);
    VERIFY(len > 0 && len <= ES256_DER_MAX);
    i2d_ECDSA_SIG(signature, &der);
    ECDSA_SIG_free(signature);
    return (size_t)len;
}

/* The default padding of an RSA key is RS256's, PKCS #1 v1.5; said all the same. */
static bool signature_holds(const struct jwk *key, struct slice data, const uint8_t *signature,
                            size_t len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;

    VERIFY(context != NULL);
    bool good = EVP_DigestVerifyInit(context, &settings, EVP_sha256(), NULL, key->key) == 1 &&
                (key->algorithm != JWT_RS256 ||
                 EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PADDING) == 1) &&
                EVP_DigestVerify(context, signature, len, data.data, data.len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

static bool check_signature(const struct jwk *key, const struct parts *parts)
{
    uint8_t raw[RSA_SIZE_MAX];
    uint8_t der[ES256_DER_MAX];
    size_t len = 0;

    if (sodium_base642bin(raw, sizeof(raw), (const char *)parts->signature.data,
                          parts->signature.len, NULL, &len, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    if (key->algorithm == JWT_RS256)
        return signature_holds(key, parts->is_signed, raw, len);
    return len == ES256_SIZE && signature_holds(key, parts->is_signed, der, ecdsa_to_der(raw, der));
}

/* --- the claims --- */

static bool is_listed(const json_t *name, const char *lines)
{
    const char *text = json_string_value(name);
    size_t len = json_string_length(name);

    for (const char *line = lines; len > 0 && *line != '\0';) {
        size_t line_len = strcspn(line, "\n");
        if (line_len == len && memcmp(line, text, len) == 0)
            return true;
        line += line_len + (line[line_len] == '\n');
    }
    return false;
}

/* A string, or a list of strings, one of which is ours. */
static bool is_for_us(const json_t *audience, const char *audiences)
{
    const json_t *name;
    bool found = false;
    size_t i;

    if (json_is_string(audience))
        return is_listed(audience, audiences);
    json_array_foreach(audience, i, name)
    {
        if (!json_is_string(name))
            return false;
        found |= is_listed(name, audiences);
    }
    return found;
}

static bool claim_is(const json_t *claims, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text != NULL && value[0] != '\0' && strcmp(text, value) == 0;
}

/* Reads a time; false: it is there, but is none. */
static bool read_time(const json_t *claims, const char *name, bool *there, double *time)
{
    const json_t *claim = json_object_get(claims, name);

    *there = claim != NULL;
    *time = json_number_value(claim);
    return claim == NULL || (json_is_number(claim) && *time >= 0 && *time <= TIME_MAX);
}

static const char *check_times(const json_t *claims, double now, uint64_t *expires_at)
{
    bool has_end, has_start, has_issue;
    double end, start, issue;

    if (!read_time(claims, "exp", &has_end, &end) ||
        !read_time(claims, "nbf", &has_start, &start) ||
        !read_time(claims, "iat", &has_issue, &issue))
        return "one of its times is none";
    if (!has_end)
        return "it does not say when it expires";
    if (end <= now)
        return "it has expired";
    if ((has_start && start > now + JWT_LEEWAY_S) || (has_issue && issue > now + JWT_LEEWAY_S))
        return "it is not valid yet";
    *expires_at = (uint64_t)end;
    return NULL;
}

static const char *check_claims(const json_t *claims, const struct jwt_rules *rules, double now,
                                uint64_t *expires_at)
{
    if (!claim_is(claims, "iss", rules->issuer))
        return "another issuer made it";
    if (!is_for_us(json_object_get(claims, "aud"), rules->audiences))
        return "it is for another audience";
    if (rules->type != NULL && !claim_is(claims, "type", rules->type))
        return "it is of another type";
    return check_times(claims, now, expires_at);
}

const char *jwt_verify(struct slice token, const struct jwks *keys, const struct jwt_rules *rules,
                       double now, struct jwt *jwt)
{
    struct parts parts;

    *jwt = (struct jwt){0};
    if (token.len > ACCESS_TOKEN_MAX)
        return "it is too long";
    if (!split(token, &parts))
        return "it has not the form of a token";
    json_t *header = read_object(parts.header);
    if (header == NULL)
        return "its header cannot be read";
    const char *wrong = choose_key(header, keys, &jwt->key);
    json_decref(header);
    if (wrong != NULL)
        return wrong;
    if (!check_signature(jwt->key, &parts))
        return "its signature does not hold";
    json_t *claims = read_object(parts.payload);
    if (claims == NULL)
        return "its claims cannot be read";
    wrong = check_claims(claims, rules, now, &jwt->expires_at);
    if (wrong != NULL)
        json_decref(claims);
    else
        jwt->claims = claims;
    return wrong;
}

void jwt_prepare(void)
{
    /* A modulus that is nobody's and P-256's base point: enough for all of the code to be called.
     */
    static const char form[] =
        "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"Aw\",\"n\":\"%s\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\","
        "\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\","
        "\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}]}";
    enum { MODULUS = 2048 / 8, MODULUS_TEXT = (MODULUS * 4 + 2) / 3 };
    char modulus[MODULUS_TEXT + 1] = "";
    char text[sizeof(form) + MODULUS_TEXT];
    char why[TEXT_MAX];
    uint8_t signature[MODULUS];
    uint8_t der[ES256_DER_MAX];

    VERIFY(sodium_init() >= 0);
    memset(modulus, 'w', MODULUS_TEXT);
    memset(signature, 1, sizeof(signature));
    snprintf(text, sizeof(text), form, modulus);
    struct jwks *keys = jwks_parse(text, strlen(text), slice_text("built in"), why, sizeof(why));
    VERIFY(keys != NULL && keys->count == 2);
    VERIFY(!signature_holds(&keys->keys[0], slice_text("x"), signature, MODULUS));
    VERIFY(!signature_holds(&keys->keys[1], slice_text("x"), der, ecdsa_to_der(signature, der)));
    jwks_free(keys);
}
