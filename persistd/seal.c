/* Sealing of single records. */
#include "persistd/seal.h"

#include "common/cursor.h"
#include "common/verify.h"

#include <sodium.h>

enum {
    SEAL_FORMAT = 1,
    TAG_SIZE = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    NONCES_DRAWN = 128,
};

/* The unsealed front of a value. All of it is authenticated. */
struct seal_header {
    uint8_t format;
    uint32_t epoch;
    uint32_t store;
    uint64_t fingerprint; /* of the place that it was sealed for: tells moved from altered */
    uint8_t nonce[SEAL_NONCE_SIZE];
} __attribute__((packed));
_Static_assert(sizeof(struct seal_header) == SEAL_HEADER_SIZE, "the header has no padding");
_Static_assert(SEAL_OVERHEAD == SEAL_HEADER_SIZE + 4 + TAG_SIZE, "what sealing adds");
_Static_assert(SEAL_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce size");

struct associated_data {
    struct place place;
    struct seal_header header;
} __attribute__((packed));

const char *seal_verdict_text(enum seal_verdict verdict)
{
    static const char *const texts[] = {
        [SEAL_GOOD] = "good",
        [SEAL_MALFORMED] = "malformed",
        [SEAL_OTHER_STORE] = "from another store",
        [SEAL_MOVED] = "moved or copied from another place",
        [SEAL_UNKNOWN_EPOCH] = "sealed with a key that is gone",
        [SEAL_ALTERED] = "altered",
    };
    return texts[verdict];
}

static uint64_t place_fingerprint(const struct place *place)
{
    uint64_t fingerprint;
    memcpy(&fingerprint, place->bytes + 1, sizeof(fingerprint));
    return fingerprint;
}

struct place seal_place(const struct keyring *keyring, uint8_t kind, struct slice key)
{
    crypto_generichash_state state;
    struct place place;

    place.bytes[0] = kind;
    crypto_generichash_init(&state, keyring_place_key(keyring), KEY_SIZE, PLACE_SIZE - 1);
    crypto_generichash_update(&state, &kind, 1);
    crypto_generichash_update(&state, key.data, key.len);
    crypto_generichash_final(&state, place.bytes + 1, PLACE_SIZE - 1);
    return place;
}

/* The next random nonce. They are drawn by the hundred: asking the kernel costs more than sealing.
 */
static void draw_nonce(uint8_t nonce[SEAL_NONCE_SIZE])
{
    static _Thread_local uint8_t drawn[NONCES_DRAWN * SEAL_NONCE_SIZE];
    static _Thread_local size_t left;

    if (left == 0) {
        randombytes_buf(drawn, sizeof(drawn));
        left = NONCES_DRAWN;
    }
    memcpy(nonce, drawn + --left * SEAL_NONCE_SIZE, SEAL_NONCE_SIZE);
}

void seal_record(const struct keyring *keyring, const struct place *place, struct slice key,
                 struct slice value, uint8_t *out)
{
    uint8_t *plain = out + sizeof(struct seal_header);
    size_t plain_len = 4 + (size_t)key.len + value.len;
    struct associated_data ad = {.place = *place};

    ad.header.format = SEAL_FORMAT;
    ad.header.epoch = keyring_newest_epoch(keyring);
    ad.header.store = keyring_store_tag(keyring);
    ad.header.fingerprint = place_fingerprint(place);
    draw_nonce(ad.header.nonce);
    memcpy(out, &ad.header, sizeof(ad.header));

    memcpy(plain, &key.len, 4);
    if (key.len > 0)
        memcpy(plain + 4, key.data, key.len);
    if (value.len > 0)
        memcpy(plain + 4 + key.len, value.data, value.len);
    const uint8_t *data_key = keyring_data_key(keyring, ad.header.epoch);
    VERIFY(data_key != NULL);
    crypto_aead_xchacha20poly1305_ietf_encrypt(plain, NULL, plain, plain_len, (uint8_t *)&ad,
                                               sizeof(ad), NULL, ad.header.nonce, data_key);
}

enum seal_verdict seal_open(const struct keyring *keyring, const struct place *place,
                            struct slice sealed, struct buf *plain, struct slice *key,
                            struct slice *value)
{
    struct associated_data ad = {.place = *place};

    if (sealed.len < sizeof(ad.header) + TAG_SIZE + 4)
        return SEAL_MALFORMED;
    memcpy(&ad.header, sealed.data, sizeof(ad.header));
    if (ad.header.format != SEAL_FORMAT)
        return SEAL_MALFORMED;
    if (ad.header.store != keyring_store_tag(keyring))
        return SEAL_OTHER_STORE;
    if (ad.header.fingerprint != place_fingerprint(place))
        return SEAL_MOVED;
    const uint8_t *data_key = keyring_data_key(keyring, ad.header.epoch);
    if (data_key == NULL)
        return SEAL_UNKNOWN_EPOCH;

    size_t boxed = sealed.len - sizeof(ad.header);
    buf_consume(plain, buf_len(plain));
    uint8_t *at = buf_reserve(plain, boxed);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(at, NULL, NULL, sealed.data + sizeof(ad.header),
                                                   boxed, (uint8_t *)&ad, sizeof(ad),
                                                   ad.header.nonce, data_key) != 0)
        return SEAL_ALTERED;
    buf_commit(plain, boxed - TAG_SIZE);
    struct cursor c = cursor_of(slice_of(at, boxed - TAG_SIZE));
    *key = cursor_bytes(&c, cursor_u32(&c));
    *value = cursor_bytes(&c, (uint32_t)cursor_left(&c));
    return c.failed ? SEAL_ALTERED : SEAL_GOOD;
}

bool seal_nonce(struct slice sealed, uint8_t nonce[SEAL_NONCE_SIZE], uint32_t *epoch)
{
    struct seal_header header;

    if (sealed.len < sizeof(header))
        return false;
    memcpy(&header, sealed.data, sizeof(header));
    memcpy(nonce, header.nonce, SEAL_NONCE_SIZE);
    *epoch = header.epoch;
    return true;
}

void seal_element(const struct keyring *keyring, const struct place *place,
                  const uint8_t nonce[SEAL_NONCE_SIZE], uint64_t element[ELEMENT_SIZE / 8])
{
    uint8_t bytes[PLACE_SIZE + SEAL_NONCE_SIZE];

    memcpy(bytes, place->bytes, PLACE_SIZE);
    memcpy(bytes + PLACE_SIZE, nonce, SEAL_NONCE_SIZE);
    crypto_generichash((uint8_t *)element, ELEMENT_SIZE, bytes, sizeof(bytes),
                       keyring_ledger_key(keyring), KEY_SIZE);
}
