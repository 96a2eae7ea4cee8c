/* Fuzzes what authd reads of identity tokens. The first byte chooses: a key set; a whole token; or
 * claims, which the target signs so that they are looked at. */
#include "authd/tokens.h"
#include "common/mqtt_wire.h"
#include "common/verify.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1800000000, HALF = 32, DER_MAX = 80 };

static EVP_PKEY *pair;
static struct tokens tokens;

static void encode(char *out, size_t size, const void *data, size_t len)
{
    VERIFY(sodium_bin2base64(out, size, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING) !=
           NULL);
}

static void encode_coordinate(const char *name, char out[64])
{
    uint8_t bytes[HALF];
    BIGNUM *number = NULL;

    VERIFY(EVP_PKEY_get_bn_param(pair, name, &number) == 1);
    VERIFY(BN_bn2binpad(number, bytes, HALF) == HALF);
    BN_free(number);
    encode(out, 64, bytes, HALF);
}

static void start(void)
{
    char x[64], y[64], text[512], why[TEXT_MAX];
    int fd = memfd_create("keys", MFD_CLOEXEC);
    const struct mc_authd_setup setup = {.access_issuer = slice_text("https://t"),
                                         .access_audience = slice_text("a\nb\n"),
                                         .jwt_issuer = slice_text("https://t"),
                                         .jwt_audience = slice_text("a\n"),
                                         .jwt_user_claim = slice_text("sub")};

    jwt_prepare();
    pair = EVP_EC_gen("P-256");
    VERIFY(pair != NULL && fd >= 0);
    encode_coordinate(OSSL_PKEY_PARAM_EC_PUB_X, x);
    encode_coordinate(OSSL_PKEY_PARAM_EC_PUB_Y, y);
    int len = snprintf(text, sizeof(text),
                       "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":\"%s\","
                       "\"y\":\"%s\"}]}",
                       x, y);
    VERIFY(write(fd, text, (size_t)len) == len);
    tokens_configure(&tokens, &setup);
    for (int kind = 0; kind < TOKEN_KINDS; kind++)
        VERIFY(
            tokens_load(&tokens, (enum token_kind)kind, slice_text("keys"), fd, why, sizeof(why)));
    tokens_commit(&tokens);
    close(fd);
}

static void verify(struct slice token)
{
    for (int kind = 0; kind < TOKEN_KINDS; kind++) {
        struct token_identity who;
        if (tokens_verify(&tokens, (enum token_kind)kind, token, NOW, &who) == NULL)
            VERIFY(who.user.len > 0 && mqtt_utf8_valid(who.user) && who.expires_at >= NOW &&
                   who.key != 0);
        token_identity_free(&who);
    }
}

static void sign(char *token, size_t used, size_t size)
{
    uint8_t der[DER_MAX];
    uint8_t raw[2 * HALF];
    size_t len = sizeof(der);
    const uint8_t *at = der;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    VERIFY(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pair) == 1);
    VERIFY(EVP_DigestSign(context, der, &len, (uint8_t *)token, used) == 1);
    EVP_MD_CTX_free(context);
    ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &at, (long)len);
    VERIFY(numbers != NULL);
    BN_bn2binpad(ECDSA_SIG_get0_r(numbers), raw, HALF);
    BN_bn2binpad(ECDSA_SIG_get0_s(numbers), raw + HALF, HALF);
    ECDSA_SIG_free(numbers);
    token[used++] = '.';
    encode(token + used, size - used, raw, sizeof(raw));
}

static void verify_claims(struct slice claims)
{
    static const char header[] = "{\"alg\":\"ES256\",\"kid\":\"k\"}";
    static char token[2 * ACCESS_TOKEN_MAX];

    if (claims.len > ACCESS_TOKEN_MAX)
        return;
    encode(token, sizeof(token), header, sizeof(header) - 1);
    size_t used = strlen(token);
    token[used++] = '.';
    encode(token + used, sizeof(token) - used, claims.data, claims.len);
    sign(token, strlen(token), sizeof(token));
    verify(slice_text(token));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[TEXT_MAX] = "";

    if (pair == NULL)
        start();
    if (size == 0)
        return 0;
    if (data[0] == 'k') {
        struct jwks *keys =
            jwks_parse((const char *)data + 1, size - 1, slice_text("keys"), why, sizeof(why));
        VERIFY((keys == NULL) == (why[0] != '\0') && (keys == NULL || keys->count > 0));
        jwks_free(keys);
    } else if (data[0] == 't') {
        verify(slice_of(data + 1, size - 1));
    } else if (data[0] == 'c') {
        verify_claims(slice_of(data + 1, size - 1));
    }
    return 0;
}
