/* Key sets and tokens, with keys that the test makes. */
#include "authd/jwt.h"
#include "authd/tokens.h"
#include "common/jwks.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOW = 1800000000, TEXT_SIZE = 8192 };

#define CLAIMS                                                                                     \
    "{\"iss\":\"https://t\",\"aud\":[\"x\",\"b\"],\"type\":\"app\",\"exp\":1800000600,"            \
    "\"email\":\"ann@example.org\"}"

static EVP_PKEY *rsa, *ec;
static char set_text[TEXT_SIZE];
static struct jwks *keys;
static const struct jwt_rules rules = {.issuer = "https://t", .audiences = "a\nb\n", .type = "app"};

static void encode(char *out, size_t size, const void *data, size_t len)
{
    cr_assert_not_null(
        sodium_bin2base64(out, size, data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING));
}

static void encode_number(EVP_PKEY *key, const char *name, size_t len, char *out, size_t size)
{
    uint8_t bytes[512];
    BIGNUM *number = NULL;

    cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &number), 1);
    cr_assert_eq(BN_bn2binpad(number, bytes, (int)len), (int)len);
    BN_free(number);
    encode(out, size, bytes, len);
}

static struct jwks *parse(const char *text, char why[TEXT_MAX])
{
    why[0] = '\0';
    return jwks_parse(text, strlen(text), slice_text("keys.json"), why, TEXT_MAX);
}

static void start(void)
{
    char n[1024], x[128], y[128], why[TEXT_MAX];

    jwt_prepare();
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    encode_number(rsa, OSSL_PKEY_PARAM_RSA_N, 256, n, sizeof(n));
    encode_number(ec, OSSL_PKEY_PARAM_EC_PUB_X, 32, x, sizeof(x));
    encode_number(ec, OSSL_PKEY_PARAM_EC_PUB_Y, 32, y, sizeof(y));
    snprintf(set_text, sizeof(set_text),
             "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\","
             "\"x5c\":[\"unused\"],\"n\":\"%s\",\"e\":\"AQAB\"},"
             "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"%s\",\"y\":\"%s\"},"
             "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"},"
             "{\"kty\":\"RSA\",\"kid\":\"other\",\"alg\":\"PS256\"},"
             "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"enc\",\"use\":\"enc\"}]}",
             n, x, y);
    keys = parse(set_text, why);
    cr_assert_not_null(keys, "%s", why);
}

/* Signs what is in token so far, and appends the signature. */
static void sign(char token[TEXT_SIZE], EVP_PKEY *key)
{
    uint8_t signature[512];
    uint8_t raw[64];
    size_t len = sizeof(signature);
    size_t used = strlen(token);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    cr_assert_eq(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    cr_assert_eq(EVP_DigestSign(context, signature, &len, (uint8_t *)token, used), 1);
    EVP_MD_CTX_free(context);
    token[used++] = '.';
    if (key == rsa) {
        encode(token + used, TEXT_SIZE - used, signature, len);
        return;
    }
    const uint8_t *at = signature;
    ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &at, (long)len);
    cr_assert_not_null(numbers);
    BN_bn2binpad(ECDSA_SIG_get0_r(numbers), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(numbers), raw + 32, 32);
    ECDSA_SIG_free(numbers);
    encode(token + used, TEXT_SIZE - used, raw, sizeof(raw));
}

static const char *make(const char *header, const char *claims, EVP_PKEY *key)
{
    static char token[TEXT_SIZE];

    encode(token, sizeof(token), header, strlen(header));
    size_t used = strlen(token);
    token[used++] = '.';
    encode(token + used, sizeof(token) - used, claims, strlen(claims));
    sign(token, key);
    return token;
}

#define RS "{\"alg\":\"RS256\",\"kid\":\"r\"}"
#define ES "{\"alg\":\"ES256\",\"kid\":\"e\"}"

static const char *verify(const char *token, const struct jwt_rules *by, double now)
{
    struct jwt jwt;
    const char *wrong = jwt_verify(slice_text(token), keys, by, now, &jwt);

    cr_assert((wrong == NULL) == (jwt.claims != NULL));
    json_decref(jwt.claims);
    return wrong;
}

/* The answer to a token with these claims; "good" for none. */
static const char *answer(const char *claims)
{
    const char *wrong = verify(make(ES, claims, ec), &rules, NOW);
    return wrong != NULL ? wrong : "good";
}

TestSuite(tokens, .init = start, .timeout = 60);

Test(tokens, both_algorithms_verify)
{
    struct jwt jwt;

    cr_assert_null(jwt_verify(slice_text(make(RS, CLAIMS, rsa)), keys, &rules, NOW, &jwt));
    cr_assert_eq(jwt.expires_at, 1800000600);
    cr_assert_str_eq(jwt.key->id, "r");
    cr_assert_str_eq(json_string_value(json_object_get(jwt.claims, "email")), "ann@example.org");
    json_decref(jwt.claims);
    cr_assert_null(verify(make(ES, CLAIMS, ec), &rules, NOW));
}

Test(tokens, keys_of_other_kinds_are_passed_over)
{
    cr_assert_eq(keys->count, 2);
    cr_assert_null(jwks_find(keys, "other"));
    cr_assert_null(jwks_find(keys, "enc"));
}

Test(tokens, each_changed_byte_is_noticed)
{
    EVP_PKEY *const pairs[] = {rsa, ec};

    for (int which = 0; which < 2; which++) {
        char *token = strdup(make(which == 0 ? RS : ES, CLAIMS, pairs[which]));
        size_t len = strlen(token);
        cr_assert_null(verify(token, &rules, NOW));
        for (size_t i = 0; i < len; i++) {
            char before = token[i];
            token[i] = before == 'A' ? 'B' : 'A';
            cr_assert_not_null(verify(token, &rules, NOW), "byte %zu", i);
            token[i] = before;
        }
        for (size_t i = 0; i < len; i++) { /* and each cut */
            struct jwt jwt;
            cr_assert_not_null(jwt_verify(slice_of(token, i), keys, &rules, NOW, &jwt));
        }
        free(token);
    }
}

Test(tokens, the_algorithm_is_the_keys)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"kid\":\"r\"}",
        "{\"alg\":\"HS256\",\"kid\":\"r\"}",
        "{\"alg\":\"ES256\",\"kid\":\"r\"}",
        "{\"alg\":\"rs256\",\"kid\":\"r\"}",
        "{\"alg\":[\"RS256\"],\"kid\":\"r\"}",
        "{\"alg\":\"RS256\",\"kid\":\"e\"}",
        "{\"alg\":\"RS256\",\"kid\":\"R\"}",
        "{\"alg\":\"RS256\",\"kid\":0}",
        "{\"alg\":\"RS256\"}",
        "{\"kid\":\"r\"}",
        "{\"alg\":\"RS256\",\"kid\":\"r\",\"crit\":[]}",
        "{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"r\"}",
        "[]",
        "\"RS256\"",
    };

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        cr_assert_not_null(verify(make(headers[i], CLAIMS, rsa), &rules, NOW), "%s", headers[i]);
}

Test(tokens, a_claim_that_is_missing_or_wrong_refuses)
{
#define WITH(claims) "{" claims "}"
#define ISS          "\"iss\":\"https://t\","
#define AUD          "\"aud\":\"b\","
#define TYPE         "\"type\":\"app\","
    static const struct {
        const char *claims;
        const char *answer;
    } cases[] = {
        {WITH(ISS AUD TYPE "\"exp\":1800000001"), "good"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001.5,\"nbf\":1800000029,\"iat\":1800000030"), "good"},
        {WITH(ISS "\"aud\":[\"a\"]," TYPE "\"exp\":1900000000"), "good"},
        {WITH(AUD TYPE "\"exp\":1800000001"), "another issuer made it"},
        {WITH("\"iss\":[\"https://t\"]," AUD TYPE "\"exp\":1800000001"), "another issuer made it"},
        {WITH(ISS TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS "\"aud\":\"\"," TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS "\"aud\":\"a\\nb\"," TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS "\"aud\":[\"c\"]," TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS "\"aud\":[\"b\",7]," TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS "\"aud\":{\"b\":1}," TYPE "\"exp\":1800000001"), "it is for another audience"},
        {WITH(ISS AUD "\"exp\":1800000001"), "it is of another type"},
        {WITH(ISS AUD TYPE "\"sub\":\"a\""), "it does not say when it expires"},
        {WITH(ISS AUD TYPE "\"exp\":1800000000"), "it has expired"},
        {WITH(ISS AUD TYPE "\"exp\":\"1800000001\""), "one of its times is none"},
        {WITH(ISS AUD TYPE "\"exp\":true"), "one of its times is none"},
        {WITH(ISS AUD TYPE "\"exp\":-1"), "one of its times is none"},
        {WITH(ISS AUD TYPE "\"exp\":1e300"), "one of its times is none"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001,\"nbf\":null"), "one of its times is none"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001,\"nbf\":1800000031"), "it is not valid yet"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001,\"iat\":1800000031"), "it is not valid yet"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001,\"exp\":1800000001"), "its claims cannot be read"},
        {WITH(ISS AUD TYPE "\"exp\":1800000001,\"sub\":\"\\u0000\""), "its claims cannot be read"},
        {"[]", "its claims cannot be read"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_str_eq(answer(cases[i].claims), cases[i].answer, "%s", cases[i].claims);
}

Test(tokens, rules_without_a_type_take_any_and_an_empty_issuer_takes_none)
{
    const struct jwt_rules any = {.issuer = "https://t", .audiences = "b\n"};
    const struct jwt_rules nobody = {.issuer = "", .audiences = "b\n"};
    const char *typeless = "{\"iss\":\"https://t\",\"aud\":\"b\",\"exp\":1800000001}";

    cr_assert_null(verify(make(ES, typeless, ec), &any, NOW));
    cr_assert_not_null(
        verify(make(ES, "{\"iss\":\"\",\"aud\":\"b\",\"exp\":1800000001}", ec), &nobody, NOW));
}

Test(tokens, what_looks_like_one)
{
    cr_assert(jwt_looks_like_one(slice_text(make(RS, CLAIMS, rsa))));
    cr_assert(jwt_looks_like_one(slice_text("eyJ.a.b")));
    cr_assert_not(jwt_looks_like_one(slice_text("eyJ.a")));
    cr_assert_not(jwt_looks_like_one(slice_text("eyJ.a.b.c")));
    cr_assert_not(jwt_looks_like_one(slice_text("eyJ..b")));
    cr_assert_not(jwt_looks_like_one(slice_text("a.b.c")));
    cr_assert_not(jwt_looks_like_one(slice_text("")));
}

Test(tokens, a_set_is_taken_whole_or_not_at_all)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "keys.json:"},
        {"{\"keys\":[]", "keys.json:1: is no JSON"},
        {"{}", "keys.json: has no list 'keys'"},
        {"[]", "keys.json: has no list 'keys'"},
        {"{\"keys\":{}}", "keys.json: has no list 'keys'"},
        {"{\"keys\":[]}", "keys.json: none of its 0 keys"},
        {"{\"keys\":[7]}", "keys.json: key 1 is not an object"},
        {"{\"keys\":[],\"keys\":[]}", "duplicate"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"Aw\"}]}", "key 1 has no 'kid'"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"\",\"n\":\"AA\",\"e\":\"Aw\"}]}", "has no 'kid'"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\"}]}", "key 1 has no 'n' and 'e'"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
         "key 1 is no RSA key of 2048"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\"}]}", "key 1 has no 'x'"},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\","
         "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
         "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
         "key 1 is no point of P-256"},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", "key 1 is a secret"},
        {"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"d\":\"AA\"}]}", "key 1 is a secret"},
    };
    char why[TEXT_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_null(parse(cases[i].text, why), "%s", cases[i].text);
        cr_assert_not_null(strstr(why, cases[i].says), "%s: %s", cases[i].text, why);
    }
    char twice[TEXT_SIZE];
    const char *first = strchr(set_text, '[') + 1;
    const char *end = strchr(first, '}');
    snprintf(twice, sizeof(twice), "{\"keys\":[%.*s,%.*s]}", (int)(end - first) + 1, first,
             (int)(end - first) + 1, first);
    cr_assert_null(parse(twice, why));
    cr_assert_not_null(strstr(why, "key 2 has the 'kid' of another one"), "%s", why);
}

/* --- sources --- */

static struct tokens tokens;

static void load(enum token_kind kind, const char *text)
{
    char why[TEXT_MAX];
    int fd = memfd_create("keys", MFD_CLOEXEC);

    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert(tokens_load(&tokens, kind, slice_text("keys.json"), fd, why, sizeof(why)), "%s", why);
    close(fd);
}

static void configure(const char *audience)
{
    const struct mc_authd_setup setup = {.access_issuer = slice_text("https://t"),
                                         .access_audience = slice_text(audience),
                                         .jwt_issuer = slice_text("https://j"),
                                         .jwt_audience = slice_text("j\n"),
                                         .jwt_user_claim = slice_text("name")};
    tokens_configure(&tokens, &setup);
}

/* Whom the token names; a text in brackets: why nobody. */
static const char *name_of(enum token_kind kind, const char *claims)
{
    static char name[256];
    struct token_identity who;
    const char *wrong = tokens_verify(&tokens, kind, slice_text(make(ES, claims, ec)), NOW, &who);

    if (wrong != NULL)
        snprintf(name, sizeof(name), "(%s)", wrong);
    else
        snprintf(name, sizeof(name), "%.*s", SLICE_ARGS(who.user));
    token_identity_free(&who);
    return name;
}

#define ACCESS(more)                                                                               \
    "{\"iss\":\"https://t\",\"aud\":\"a\",\"type\":\"app\",\"exp\":1800000001," more "}"
#define OWN(more) "{\"iss\":\"https://j\",\"aud\":\"j\",\"exp\":1800000001," more "}"

Test(tokens, names)
{
    configure("a\n");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":\"e\"")),
                     "(there are no keys to check it with)");
    load(TOKEN_ACCESS, set_text);
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":\"e\"")),
                     "(there are no keys to check it with)", "not before the commit");
    load(TOKEN_PASSWORD, set_text);
    tokens_commit(&tokens);
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":\"e\",\"sub\":\"s\"")), "e");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"common_name\":\"c\",\"sub\":\"\"")), "c");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":\"\",\"sub\":\"s\"")), "s");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"common_name\":\"\",\"sub\":\"\"")),
                     "(it names nobody)");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":7,\"sub\":\"s\"")),
                     "(the name in it is no text)");
    cr_assert_str_eq(name_of(TOKEN_ACCESS, ACCESS("\"email\":\"\\ud83d\\ude00\"")), "\U0001F600");
    cr_assert_str_eq(name_of(TOKEN_PASSWORD, OWN("\"name\":\"n\",\"email\":\"e\"")), "n");
    cr_assert_str_eq(name_of(TOKEN_PASSWORD, OWN("\"sub\":\"s\"")), "(it names nobody)");
    cr_assert_str_eq(name_of(TOKEN_PASSWORD, ACCESS("\"name\":\"n\"")), "(another issuer made it)");
}

Test(tokens, a_key_is_named_by_all_that_its_tokens_are_judged_by)
{
    uint8_t before[TOKEN_KEYS_MAX * 8], after[TOKEN_KEYS_MAX * 8];
    struct token_identity who;

    configure("a\n");
    load(TOKEN_ACCESS, set_text);
    cr_assert_eq(tokens_key_names(&tokens, before), 0);
    tokens_commit(&tokens);
    cr_assert_eq(tokens_key_names(&tokens, before), 16);
    cr_assert_null(tokens_verify(&tokens, TOKEN_ACCESS,
                                 slice_text(make(ES, ACCESS("\"email\":\"e\""), ec)), NOW, &who));
    cr_assert(memcmp(&who.key, before + 8, 8) == 0);
    token_identity_free(&who);
    load(TOKEN_ACCESS, set_text);
    tokens_forget(&tokens);
    tokens_commit(&tokens);
    cr_assert_eq(tokens_key_names(&tokens, after), 16);
    cr_assert_arr_eq(before, after, 16);
    configure("a\nb\n");
    cr_assert_eq(tokens_key_names(&tokens, after), 16);
    cr_assert(memcmp(before, after, 8) != 0 && memcmp(before + 8, after + 8, 8) != 0);
}
