/* Fuzzes the check of an audit log: any bytes hold or not, and what is said of them fits. */
#include "common/audit_check.h"

#include "common/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t lines_of(const uint8_t *data, size_t size)
{
    uint64_t lines = size > 0 && data[size - 1] != '\n';

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines;
}

static void check(const uint8_t *data, size_t size, const struct audit_keys *keys)
{
    struct audit_check found;
    FILE *file = fmemopen((void *)data, size, "r"); /* only read */

    VERIFY(file != NULL);
    audit_check_file(file, UINT64_MAX, keys, &found);
    fclose(file);
    VERIFY((found.line == 0) == (found.problem[0] == '\0'));
    VERIFY(found.line == 0 ? found.records == lines_of(data, size)
                           : found.line == found.records + 1);
    VERIFY(found.signature_line <= found.records && found.signatures <= found.signature_line);
    if (found.line == 0)
        VERIFY(found.first > 0 && found.last - found.first + 1 == found.records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t chain_key[AUDIT_CHAIN_KEY_SIZE];

    if (size == 0)
        return 0;
    check(data, size, &(struct audit_keys){0});
    check(data, size, &(struct audit_keys){.chain_key = chain_key});
    return 0;
}
