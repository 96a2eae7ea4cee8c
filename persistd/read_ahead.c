/* A thread that reads the store, two batches ahead at most. */
#include "persistd/read_ahead.h"

#include "common/verify.h"

enum { BATCH_BYTES = 256 * 1024 };

/* What stands before each sealed value of a batch. */
struct item {
    struct place place;
    uint32_t len;
};

/* Reads one batch; false: it is the last one. */
static bool read_batch(struct read_ahead *reader, struct buf *batch)
{
    struct place place;
    struct slice sealed;

    while (buf_len(batch) < BATCH_BYTES) {
        if (!store_cursor_next(&reader->cursor, &place, &sealed))
            return false;
        struct item item = {.place = place, .len = sealed.len};
        buf_append(batch, &item, sizeof(item));
        buf_append(batch, sealed.data, sealed.len);
    }
    return true;
}

static void swap(struct buf *one, struct buf *other)
{
    struct buf kept = *one;

    *one = *other;
    *other = kept;
}

/* Waits until the batch before was taken, and gives this one for it. False: nobody wants more. */
static bool hand_over(struct read_ahead *reader, struct buf *batch, bool last)
{
    pthread_mutex_lock(&reader->lock);
    while (buf_len(&reader->ready) > 0 && !reader->stop)
        pthread_cond_wait(&reader->changed, &reader->lock);
    bool wanted = !reader->stop;
    swap(&reader->ready, batch);
    reader->ended = last;
    pthread_cond_signal(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    return wanted;
}

static void *reader_main(void *argument)
{
    struct read_ahead *reader = argument;
    struct buf batch = {0};
    bool more = true;

    while (more) {
        bool last = !read_batch(reader, &batch);
        more = hand_over(reader, &batch, last) && !last;
    }
    buf_free(&batch);
    return NULL;
}

void read_ahead_start(struct read_ahead *reader, struct store *store)
{
    *reader = (struct read_ahead){0};
    store_cursor_open(store, &reader->cursor);
    VERIFY(pthread_mutex_init(&reader->lock, NULL) == 0);
    VERIFY(pthread_cond_init(&reader->changed, NULL) == 0);
    VERIFY(pthread_create(&reader->thread, NULL, reader_main, reader) == 0);
}

/* Takes the next batch for the one that the caller is through with; false: there is none. */
static bool take_batch(struct read_ahead *reader)
{
    pthread_mutex_lock(&reader->lock);
    while (buf_len(&reader->ready) == 0 && !reader->ended)
        pthread_cond_wait(&reader->changed, &reader->lock);
    swap(&reader->taken, &reader->ready);
    pthread_cond_signal(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    return buf_len(&reader->taken) > 0;
}

bool read_ahead_next(struct read_ahead *reader, struct place *place, struct slice *sealed)
{
    struct item item;

    if (buf_len(&reader->taken) == 0 && !take_batch(reader))
        return false;
    memcpy(&item, buf_head(&reader->taken), sizeof(item));
    *place = item.place;
    *sealed = slice_of(buf_head(&reader->taken) + sizeof(item), item.len);
    buf_consume(&reader->taken, sizeof(item) + item.len);
    return true;
}

void read_ahead_stop(struct read_ahead *reader)
{
    pthread_mutex_lock(&reader->lock);
    reader->stop = true;
    pthread_cond_signal(&reader->changed);
    pthread_mutex_unlock(&reader->lock);
    VERIFY(pthread_join(reader->thread, NULL) == 0);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->lock);
    store_cursor_close(&reader->cursor);
    buf_free(&reader->taken);
    buf_free(&reader->ready);
}
