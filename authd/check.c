/* The decision on one credential. */
#include "authd/authd.h"

#include "common/mqtt.h"

static void send_verdict(const struct worker_link *worker, const struct wa_check *check,
                         uint8_t reason, uint8_t flags, struct slice principal)
{
    struct authd *authd = worker->authd;
    struct ar_verdict verdict = {.worker = worker->index,
                                 .conn = check->conn,
                                 .reason = reason,
                                 .flags = flags,
                                 .principal = principal};

    if (channel_is_open(&authd->router))
        ar_verdict_encode(&authd->router.out, &verdict);
}

void check_credential(struct worker_link *worker, const struct wa_check *check)
{
    const struct mc_authd_setup *setup = &worker->authd->setup;
    bool named = (check->flags & CREDENTIAL_USER_NAME) != 0;

    if (!named && setup->allow_anonymous)
        send_verdict(worker, check, REASON_SUCCESS, VERDICT_ANONYMOUS, slice_of(NULL, 0));
    else if (named && setup->claimed_names)
        send_verdict(worker, check, REASON_SUCCESS, VERDICT_CLAIMED, check->user_name);
    else
        send_verdict(worker, check, named ? REASON_BAD_CREDENTIALS : REASON_NOT_AUTHORIZED, 0,
                     slice_of(NULL, 0));
}
