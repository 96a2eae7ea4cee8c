/* Fuzzes the reader of flat audit events against the JSON library: what it accepts, the library
 * reads as the same event and writes again byte for byte. */
#include "common/verify.h"
#include "persistd/audit.h"
#include "persistd/audit_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char line[AUDIT_RECORD_MAX];
    struct slice event = slice_of(data, size);
    struct slice name;

    if (!audit_scan(event, &name))
        return 0;
    json_t *record = audit_parse(event);
    const char *read = json_string_value(json_object_get(record, "event"));
    VERIFY(read != NULL && slice_is(name, read));
    for (size_t i = 0; audit_added[i] != NULL; i++)
        VERIFY(json_object_get(record, audit_added[i]) == NULL);
    VERIFY(slice_equal(slice_of(line, audit_dump(record, line, sizeof(line))), event));
    json_decref(record);
    return 0;
}
