/* The orderly end. */
#include "router/drain.h"

#include "common/child.h"
#include "common/log.h"
#include "router/audit.h"
#include "router/router.h"
#include "router/worker_link.h"

static void end(struct router *r)
{
    struct cm_drained drained = {};

    audit_settle(r);
    control_send_message(&r->child->control, cm_drained, &drained, -1);
    child_stop(r->child);
}

static void on_limit(struct timer *timer, void *context)
{
    struct router *r = context;

    (void)timer;
    log_error("%llu changes could not be committed before the end",
              (unsigned long long)(persist_last(&r->persist) - persist_committed(&r->persist)));
    end(r);
}

void drain_begin(struct router *r, uint32_t limit_ms)
{
    r->draining = true;
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL && channel_is_open(&r->workers[i]->channel))
            r->workers[i]->channel.state = CHANNEL_DRAINING;
    }
    timer_add(&r->wheel, &r->drain_timer, r->now + limit_ms, on_limit);
    persist_request_commit(r);
}

void drain_check(struct router *r)
{
    if (!r->draining || persist_committed(&r->persist) != persist_last(&r->persist))
        return;
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL && channel_is_open(&r->workers[i]->channel))
            return;
    }
    end(r);
}
