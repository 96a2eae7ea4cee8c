/* Fuzzes the reader of mosquitto.db: any bytes are read or refused. What is read goes to a line of
 * JSON and back, and is the same. */
#include "common/verify.h"
#include "ctl/mosquitto_db.h"
#include "ctl/retained_json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool there_and_back(void *context, const struct or_retain *message)
{
    struct buf text = {0};
    struct or_retain again;
    char *line = NULL;
    char why[160];
    size_t len = 0;

    (void)context;
    FILE *out = open_memstream(&line, &len);
    VERIFY(out != NULL && retained_json_write(out, message) && fclose(out) == 0);
    VERIFY(line[len - 1] == '\n' && memchr(line, '\n', len - 1) == NULL);
    VERIFY(retained_json_read(line, len, &text, &again, why, sizeof(why)));
    VERIFY(slice_equal(again.topic, message->topic) &&
           slice_equal(again.payload, message->payload) &&
           slice_equal(again.publisher, message->publisher) &&
           again.properties.len == message->properties.len && again.qos == message->qos &&
           again.named == message->named && again.expires == message->expires);
    free(line);
    buf_free(&text);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mosquitto_db_counts counts;
    const char *why = NULL;
    bool good = mosquitto_db_read(slice_of(data, size), there_and_back, NULL, &counts, &why);

    VERIFY(good == (why == NULL));
    return 0;
}
