/* Mount points. */
#include "router/topics/mount.h"

#include "router/sessions/connection.h"

struct slice mounted_topic(struct router *r, const struct connection *c, struct slice topic)
{
    struct slice mount = r->listeners[c->listener].mount_point;

    if (mount.len == 0)
        return topic;
    buf_consume(&r->text, buf_len(&r->text));
    buf_append(&r->text, mount.data, mount.len);
    buf_append(&r->text, topic.data, topic.len);
    return slice_of(buf_head(&r->text), buf_len(&r->text));
}

bool unmount_topic(const struct router *r, const struct connection *c, struct slice *topic)
{
    struct slice mount = r->listeners[c->listener].mount_point;

    if (mount.len == 0)
        return true;
    if (topic->len <= mount.len || memcmp(topic->data, mount.data, mount.len) != 0)
        return false;
    *topic = slice_of(topic->data + mount.len, topic->len - mount.len);
    return true;
}
