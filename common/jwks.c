/* Reading a JSON Web Key Set. */
#include "common/jwks.h"

#include "common/verify.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 4096,
    EXPONENT_MAX = 4, /* bytes */
    COORDINATE = 32,  /* bytes, of P-256 */
    POINT = 1 + 2 * COORDINATE,
};

const char *jwt_algorithm_name(enum jwt_algorithm algorithm)
{
    return algorithm == JWT_RS256 ? "RS256" : "ES256";
}

static bool text_is(const json_t *object, const char *name, const char *text)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value != NULL && strcmp(value, text) == 0;
}

/* A member in base64url; its length in bytes, or 0 when it is missing, wrong or longer than size.
 */
static size_t read_bytes(const json_t *object, const char *name, uint8_t *out, size_t size)
{
    const json_t *member = json_object_get(object, name);
    size_t len = 0;

    if (!json_is_string(member) ||
        sodium_base642bin(out, size, json_string_value(member), json_string_length(member), NULL,
                          &len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return 0;
    return len;
}

static void take_fingerprint(struct jwk *key, const uint8_t *a, size_t a_len, const uint8_t *b,
                             size_t b_len)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(key->fingerprint));
    crypto_generichash_update(&state, (const uint8_t *)&a_len, sizeof(a_len));
    crypto_generichash_update(&state, a, a_len);
    crypto_generichash_update(&state, b, b_len);
    crypto_generichash_final(&state, key->fingerprint, sizeof(key->fingerprint));
}

/* A public key from the parameters in build, which is freed; NULL: they make none. */
static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    VERIFY(parameters != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    if (EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    return key;
}

static const char *read_rsa(const json_t *object, struct jwk *key)
{
    uint8_t modulus[RSA_BITS_MAX / 8 + 1];
    uint8_t exponent[EXPONENT_MAX];
    size_t modulus_len = read_bytes(object, "n", modulus, sizeof(modulus));
    size_t exponent_len = read_bytes(object, "e", exponent, sizeof(exponent));

    if (modulus_len == 0 || exponent_len == 0)
        return "has no 'n' and 'e' in base64url, of at most 4096 and 32 bits";
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_len, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    VERIFY(n != NULL && e != NULL && build != NULL);
    int bits = BN_num_bits(n);
    bool sane = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && BN_is_odd(n) && BN_is_odd(e) &&
                !BN_is_one(e);
    VERIFY(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1);
    VERIFY(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1);
    EVP_PKEY *made = make_key("RSA", build);
    BN_free(n);
    BN_free(e);
    if (!sane || made == NULL) {
        EVP_PKEY_free(made);
        return "is no RSA key of 2048 to 4096 bits";
    }
    take_fingerprint(key, modulus, modulus_len, exponent, exponent_len);
    key->key = made;
    return NULL;
}

static const char *read_p256(const json_t *object, struct jwk *key)
{
    uint8_t point[POINT] = {4}; /* uncompressed */

    if (read_bytes(object, "x", point + 1, COORDINATE) != COORDINATE ||
        read_bytes(object, "y", point + 1 + COORDINATE, COORDINATE) != COORDINATE)
        return "has no 'x' and 'y' of 32 bytes in base64url";
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    VERIFY(build != NULL);
    VERIFY(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
           1);
    VERIFY(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, POINT) == 1);
    take_fingerprint(key, point, POINT, NULL, 0);
    key->key = make_key("EC", build);
    return key->key != NULL ? NULL : "is no point of P-256";
}

/* Whether the key may verify signatures of its algorithm, as far as it says. */
static bool is_for_signatures(const json_t *object, enum jwt_algorithm algorithm)
{
    const json_t *operations = json_object_get(object, "key_ops");
    bool verifies = operations == NULL;
    const json_t *operation;
    size_t i;

    json_array_foreach(operations, i, operation)
    {
        const char *name = json_string_value(operation);
        verifies |= name != NULL && strcmp(name, "verify") == 0;
    }
    return verifies && (json_object_get(object, "use") == NULL || text_is(object, "use", "sig")) &&
           (json_object_get(object, "alg") == NULL ||
            text_is(object, "alg", jwt_algorithm_name(algorithm)));
}

/* Reads one key; what is wrong, or NULL. key->key stays NULL when it is of no use here. */
static const char *read_key(const json_t *object, struct jwk *key)
{
    const json_t *id = json_object_get(object, "kid");

    if (!json_is_object(object))
        return "is not an object";
    if (json_object_get(object, "d") != NULL || json_object_get(object, "k") != NULL)
        return "is a secret: make a file of the public keys alone, and another secret";
    if (text_is(object, "kty", "RSA"))
        key->algorithm = JWT_RS256;
    else if (text_is(object, "kty", "EC") && text_is(object, "crv", "P-256"))
        key->algorithm = JWT_ES256;
    else
        return NULL;
    if (!is_for_signatures(object, key->algorithm))
        return NULL;
    if (!json_is_string(id) || json_string_length(id) == 0 ||
        json_string_length(id) >= sizeof(key->id))
        return "has no 'kid' of 1 to 255 bytes, by which tokens could name it";
    memcpy(key->id, json_string_value(id), json_string_length(id) + 1);
    return key->algorithm == JWT_RS256 ? read_rsa(object, key) : read_p256(object, key);
}

static const char *add_key(struct jwks *keys, const json_t *object)
{
    struct jwk key = {0};
    const char *wrong = read_key(object, &key);

    if (wrong != NULL || key.key == NULL)
        return wrong;
    if (jwks_find(keys, key.id) != NULL) {
        wrong = "has the 'kid' of another one";
    } else if (keys->count == JWKS_KEYS_MAX) {
        wrong = "is one too many: at most 32 keys are kept";
    } else {
        keys->keys[keys->count++] = key;
        return NULL;
    }
    EVP_PKEY_free(key.key);
    return wrong;
}

static bool add_keys(struct jwks *keys, const json_t *root, struct slice file, char *why,
                     size_t size)
{
    const json_t *list = json_object_get(root, "keys");
    const json_t *object;
    size_t i;

    if (!json_is_array(list)) {
        snprintf(why, size, "%.*s: has no list 'keys': it is no JSON Web Key Set; fetch it again",
                 SLICE_ARGS(file));
        return false;
    }
    json_array_foreach(list, i, object)
    {
        const char *wrong = add_key(keys, object);
        if (wrong == NULL)
            continue;
        snprintf(why, size, "%.*s: key %zu %s", SLICE_ARGS(file), i + 1, wrong);
        return false;
    }
    if (keys->count == 0) {
        snprintf(
            why, size,
            "%.*s: none of its %zu keys is for RS256 or ES256 signatures: nobody could come in",
            SLICE_ARGS(file), json_array_size(list));
    }
    return keys->count > 0;
}

struct jwks *jwks_parse(const char *text, size_t len, struct slice file, char *why, size_t size)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

    if (root == NULL) {
        snprintf(why, size, "%.*s:%d: is no JSON: %s; fetch it again", SLICE_ARGS(file), error.line,
                 error.text);
        return NULL;
    }
    struct jwks *keys = calloc(1, sizeof(*keys));
    VERIFY(keys != NULL);
    bool good = add_keys(keys, root, file, why, size);
    json_decref(root);
    ERR_clear_error();
    if (good)
        return keys;
    jwks_free(keys);
    return NULL;
}

const struct jwk *jwks_find(const struct jwks *keys, const char *id)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->keys[i].id, id) == 0)
            return &keys->keys[i];
    }
    return NULL;
}

void jwks_free(struct jwks *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++)
        EVP_PKEY_free(keys->keys[i].key);
    free(keys);
}
