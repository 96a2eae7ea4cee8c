/* The index of nonces: says what was noted last for a place, and nothing else, however full. */
#include "persistd/nonce_index.h"
#include "tests/unit/leaks.h"
#include "tests/unit/random.h"

#include <criterion/criterion.h>

/* cppcheck-suppress unknownMacro */
TestSuite(nonce_index, .fini = leaks_check, .timeout = 60);

enum { PLACES = 3000, STEPS = 200000 };

static struct nonce_index nonces;
static uint32_t noted[PLACES]; /* 0: nothing */

/* Few shards and few homes, so that chains are long and wrap around. */
static struct place place_of(uint32_t number)
{
    struct place place = {.bytes = {1}};

    place.bytes[1] = (uint8_t)(number % 3);
    memcpy(place.bytes + 4, &number, sizeof(number));
    place.bytes[8] = 1;
    place.bytes[11] = 0xff;
    place.bytes[12] = number % 3 == 0 ? 0xff : (uint8_t)(number % 7);
    return place;
}

static void set(uint32_t number, uint32_t value)
{
    struct place place = place_of(number);
    uint8_t nonce[SEAL_NONCE_SIZE] = {0};

    memcpy(nonce, &value, sizeof(value));
    nonce_index_set(&nonces, &place, nonce);
    noted[number] = value;
}

static void remove_it(uint32_t number)
{
    struct place place = place_of(number);

    nonce_index_remove(&nonces, &place);
    noted[number] = 0;
}

static void expect(uint32_t number)
{
    struct place place = place_of(number);
    const uint8_t *nonce = nonce_index_find(&nonces, &place);
    uint32_t value = 0;

    if (nonce != NULL)
        memcpy(&value, nonce, sizeof(value));
    cr_assert_eq(value, noted[number], "place %u: %u instead of %u", number, value, noted[number]);
}

Test(nonce_index, agrees_with_a_plain_array)
{
    random_seed(1);
    for (uint32_t step = 1; step <= STEPS; step++) {
        uint32_t number = (uint32_t)random_below(PLACES);
        bool growing = (step / 20000) % 2 == 0;

        expect(number);
        if (random_below(4) < (growing ? 3 : 1))
            set(number, step);
        else
            remove_it(number);
        expect(number);
    }
    for (uint32_t number = 0; number < PLACES; number++)
        expect(number);
    for (uint32_t number = 0; number < PLACES; number++)
        remove_it(number);
    for (unsigned i = 0; i < NONCE_INDEX_SHARDS; i++)
        cr_assert_leq(nonces.shards[i].capacity, 64, "an empty table is small again");
    nonce_index_clear(&nonces);
}
