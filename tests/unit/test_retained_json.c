/* Retained messages as lines of JSON. */
#include "common/mqtt_properties.h"
#include "ctl/retained_json.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct buf text;
static struct or_retain message;
static char why[160];

static bool reads(const char *line)
{
    return retained_json_read(line, strlen(line), &text, &message, why, sizeof(why));
}

static char *written(const struct or_retain *from)
{
    char *line = NULL;
    size_t len;
    FILE *out = open_memstream(&line, &len);

    cr_assert(retained_json_write(out, from));
    fclose(out);
    return line;
}

static void free_text(void)
{
    buf_free(&text);
    leaks_check();
}

TestSuite(retained_json, .fini = free_text);

#define BYTES(literal) slice_of(literal, sizeof(literal) - 1)

Test(retained_json, everything_comes_back)
{
    static const struct or_retain full = {
        .qos = 2,
        .named = 1,
        .arrival = 1700000000123,
        .expires = 1900000000456,
        .topic = {(const uint8_t *)"a/\xc3\xa4/\"q\"", 8},
        .publisher = {(const uint8_t *)"alice", 5},
        .client_id = {(const uint8_t *)"pump 7", 6},
        .properties =
            {(const uint8_t *)"\x01\x01\x03\x00\x04text\x08\x00\x03r/s\x09\x00\x03\x00\xff"
                              "\x01\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x00",
             34},
        .payload = {(const uint8_t *)"21.5\n", 5}};
    char *line = written(&full);

    cr_assert(reads(line), "%s: %s", why, line);
    cr_assert_eq(message.qos, 2);
    cr_assert(message.named);
    cr_assert_eq(message.arrival, full.arrival);
    cr_assert_eq(message.expires, full.expires);
    cr_assert(slice_equal(message.topic, full.topic));
    cr_assert(slice_equal(message.publisher, full.publisher));
    cr_assert(slice_equal(message.client_id, full.client_id));
    cr_assert(slice_equal(message.properties, full.properties));
    cr_assert(slice_equal(message.payload, full.payload));
    cr_assert_not_null(strstr(line, "\"payload\":\"21.5\\n\""));
    free(line);
}

Test(retained_json, bytes_that_are_no_text_are_base64)
{
    const struct or_retain binary = {.topic = BYTES("t"), .payload = BYTES("\x00\xff\xfe")};
    char *line = written(&binary);

    cr_assert_not_null(strstr(line, "\"payload_base64\":\"AP/+\""), "%s", line);
    cr_assert(reads(line), "%s", why);
    cr_assert(slice_equal(message.payload, binary.payload));
    cr_assert_not(message.named);
    free(line);
}

Test(retained_json, an_empty_name_is_a_name)
{
    const struct or_retain nameless = {.topic = BYTES("t"), .named = 1, .payload = BYTES("x")};
    char *line = written(&nameless);

    cr_assert(reads(line), "%s", why);
    cr_assert(message.named);
    cr_assert_eq(message.publisher.len, 0);
    free(line);
}

static void refused(const char *line, const char *reason)
{
    cr_assert_not(reads(line), "%s", line);
    cr_assert_not_null(strstr(why, reason), "%s: %s", line, why);
}

Test(retained_json, what_is_wrong_is_named)
{
    refused("", "not JSON");
    refused("{\"topic\":\"a\"", "not JSON");
    refused("[1]", "not a JSON object");
    refused("{}", "there is no \"topic\"");
    refused("{\"topic\":\"a\",\"topic\":\"b\"}", "not JSON");
    refused("{\"topic\":7}", "\"topic\" is not a string");
    refused("{\"topic\":\"a\",\"retain\":true}", "no member \"retain\"");
    refused("{\"topic\":\"a\",\"qos\":3}", "\"qos\" is not a number from 0 to 2");
    refused("{\"topic\":\"a\",\"qos\":-1}", "\"qos\"");
    refused("{\"topic\":\"a\",\"expires_at_ms\":\"x\"}", "\"expires_at_ms\"");
    refused("{\"topic\":\"a\",\"payload_base64\":\"%\"}", "\"payload_base64\" is not base64");
    refused("{\"topic\":\"a\",\"payload\":\"x\",\"payload_base64\":\"eA==\"}", "there twice");
    refused("{\"topic\":\"a\",\"user_properties\":[[\"k\"]]}", "array of pairs");
    refused("{\"topic\":\"a\",\"user_properties\":[\"k\",\"v\"]}", "array of pairs");
    refused("{\"topic\":\"a\",\"payload_format\":2}", "\"payload_format\"");
}

Test(retained_json, what_is_longer_than_mqtt_allows_is_refused)
{
    static char topic[MQTT_STRING_MAX + 2];
    char *line = NULL;

    memset(topic, 'x', MQTT_STRING_MAX + 1);
    cr_assert_gt(asprintf(&line, "{\"topic\":\"%s\"}", topic), 0);
    refused(line, "longer than MQTT allows");
    free(line);
    topic[MQTT_STRING_MAX] = '\0';
    cr_assert_gt(asprintf(&line, "{\"topic\":\"%s\"}", topic), 0);
    cr_assert(reads(line), "%s", why);
    free(line);
}
