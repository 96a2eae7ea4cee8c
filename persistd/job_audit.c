/* The job that checks the audit log in place, with the keys of both chain and signatures. */
#include "persistd/job.h"

#include "common/audit_check.h"

#include <errno.h>
#include <inttypes.h>

/* Says what became of a file; newer is what must go on where it ends. */
static void report(struct job *job, const char *path, const struct audit_check *check,
                   const struct audit_check *newer)
{
    if (check->line != 0)
        fprintf(job->out, "%s:%" PRIu64 ": %s\n", path, check->line, check->problem);
    else
        fprintf(job->out, "%s: %" PRIu64 " records and %" PRIu64 " signatures hold\n", path,
                check->records, check->signatures);
    bool joined = newer->line != 0 || check->line != 0 || audit_check_joins(check, newer);
    if (!joined)
        fprintf(job->out, "%s: records are missing after its end\n", path);
    job->failed |= check->line != 0 || !joined;
}

static void report_unreadable(struct job *job, const char *path)
{
    fprintf(job->out, "%s: %s\n", path, strerror(errno));
    job->failed = true;
}

void job_audit(struct job *job)
{
    const struct audit_end *end = &job->audit_end;
    const struct audit_keys keys = {.public_key = end->public_key, .chain_key = end->chain_key};
    struct audit_check newer = {.first = end->sequence + 1};
    struct audit_check check;
    char key[2 * crypto_sign_PUBLICKEYBYTES + 1];
    char path[64];

    memcpy(newer.before, end->chain, sizeof(newer.before));
    for (uint32_t i = 0; i <= end->keep && !job_stopped(job); i++) { /* newest file first */
        snprintf(path, sizeof(path), i > 0 ? AUDIT_FILE ".%u" : AUDIT_FILE, i);
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            if (i == 0 || errno != ENOENT)
                report_unreadable(job, path);
            continue;
        }
        audit_check_file(file, i > 0 ? UINT64_MAX : end->bytes, &keys, &check);
        fclose(file);
        report(job, path, &check, &newer);
        newer = check;
    }
    sodium_bin2hex(key, sizeof(key), end->public_key, sizeof(end->public_key));
    fprintf(job->out, "public key: %s\n", key);
}
