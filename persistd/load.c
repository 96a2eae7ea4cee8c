/* Loading the store into the router. */
#include "persistd/load.h"

#include "common/log.h"
#include "common/proto_persistd.h"

#include <inttypes.h>

void load_begin(struct load *load, struct store *store, bool refuse)
{
    *load = (struct load){.store = store, .refuse = refuse};
    store->indexed = false;
    nonce_index_clear(&store->index);
    read_ahead_start(&load->reader, store);
}

static void set_aside(struct load *load, const struct place *place, struct slice sealed,
                      enum seal_verdict verdict)
{
    load->damaged[verdict]++;
    if (!load->refuse && !store_set_aside(load->store, place, sealed, &load->store->ledger))
        log_error("a damaged record could not be set aside: %s", load->store->error);
}

static void load_record(struct load *load, const struct place *place, struct slice sealed,
                        struct channel *router)
{
    uint64_t element[ELEMENT_SIZE / 8];
    uint8_t nonce[SEAL_NONCE_SIZE];
    struct pr_record record = {.kind = place->bytes[0]};
    uint32_t epoch;

    enum seal_verdict verdict =
        seal_open(load->store->keyring, place, sealed, &load->plain, &record.key, &record.value);
    if (verdict == SEAL_GOOD &&
        (record.kind == 0 || record.kind >= RECORD_KIND_END || record.key.len > RECORD_KEY_MAX ||
         record.value.len > CHANNEL_VALUE_MAX))
        verdict = SEAL_MALFORMED;
    if (verdict != SEAL_GOOD || !seal_nonce(sealed, nonce, &epoch)) {
        set_aside(load, place, sealed, verdict);
        return;
    }
    store_index(load->store, place, nonce);
    seal_element(load->store->keyring, place, nonce, element);
    ledger_add(&load->found, element);
    if (record.kind != RECORD_HEALTH)
        pr_record_encode(&router->out, &record);
}

bool load_step(struct load *load, struct channel *router)
{
    enum { STEP_BYTES = 64 * 1024, STEP_RECORDS = 1024 };
    size_t enough = buf_len(&router->out) + STEP_BYTES;
    struct place place;
    struct slice sealed;

    for (unsigned i = 0; i < STEP_RECORDS && buf_len(&router->out) < enough; i++) {
        if (!read_ahead_next(&load->reader, &place, &sealed))
            return true;
        load_record(load, &place, sealed, router);
    }
    return false;
}

/* Logs each class of damage that was met; returns the number of damaged records. */
static uint64_t report_damage(const struct load *load)
{
    const struct store_cursor *cursor = &load->reader.cursor;
    uint64_t total = 0;

    for (int verdict = SEAL_MALFORMED; verdict <= SEAL_ALTERED; verdict++) {
        if (load->damaged[verdict] == 0)
            continue;
        total += load->damaged[verdict];
        log_error("store damage: %" PRIu64 " record(s) %s; %s", load->damaged[verdict],
                  seal_verdict_text((enum seal_verdict)verdict),
                  load->refuse ? "nothing was changed" : "set aside, the others are served");
    }
    if (cursor->unreadable > 0)
        log_error("store damage: %" PRIu64 " range(s) of the files are unreadable: %s",
                  cursor->unreadable, cursor->error);
    if (cursor->foreign > 0)
        log_error("store damage: %" PRIu64 " entries under names that no record has; ignored",
                  cursor->foreign);
    return total;
}

/* True when the ledger fits what was found. */
static bool report_ledger(const struct load *load, uint64_t damaged)
{
    const struct ledger *found = &load->found;
    char difference[128];

    if (!load->store->ledger_found) {
        if (found->records + damaged == 0)
            return true;
        log_error("store damage: the ledger is missing or altered, though there are %" PRIu64
                  " records",
                  found->records);
        return false;
    }
    if (!ledger_differs(&load->store->ledger, found, damaged, difference, sizeof(difference)))
        return true;
    if (*difference != '\0')
        log_error("store damage: %s", difference);
    return false;
}

void load_abandon(struct load *load)
{
    read_ahead_stop(&load->reader);
    buf_free(&load->plain);
}

bool load_end(struct load *load, uint64_t *damaged)
{
    read_ahead_stop(&load->reader);
    buf_free(&load->plain);
    *damaged = report_damage(load);
    bool fits = report_ledger(load, *damaged);
    bool whole = fits && *damaged == 0 && load->reader.cursor.unreadable == 0 &&
                 load->reader.cursor.foreign == 0;
    load->store->indexed = true;
    if (load->refuse)
        return whole;
    if (!whole) {
        load->found.commits = load->store->ledger.commits;
        if (!store_set_aside(load->store, NULL, slice_of(NULL, 0), &load->found)) {
            log_error("the ledger could not be renewed: %s", load->store->error);
            return false;
        }
    }
    log_info("store: %" PRIu64 " records loaded, commit %" PRIu64, load->found.records,
             load->store->ledger.commits);
    return true;
}
