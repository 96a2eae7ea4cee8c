/* Fuzzes what a worker may say to the router: a stream of frames, taken from the input one after
 * the other, for a worker that has two accepted clients. Whatever it says ends its channel at most.
 */
#include "../unit/router_fixture.h"

#include "common/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fixture f;

/* Each frame in the input: type, length, bytes. */
static void say(struct peer *worker, const uint8_t *data, size_t size)
{
    while (size > 2) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        struct frame_header header = {.type = data[0], .length = (uint32_t)length};
        buf_append(&worker->out, &header, sizeof(header));
        buf_append(&worker->out, data + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer *worker = &f.workers[1];

    if (f.loop == NULL)
        fixture_open(&f, NULL);
    fixture_replace_worker(&f, 1);
    for (uint32_t i = 0; i < 2; i++) {
        struct client client = {
            .worker = worker, .handle = i, .id = i == 0 ? "a" : "b", .session_expiry = i};
        client_connect(&f, &client);
    }
    say(worker, data, size);
    fixture_settle(&f);
    fixture_wait(&f, 2000);
    VERIFY(f.r.stats.connected <= 256);
    return 0;
}
