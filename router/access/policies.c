/* Reading policies and binding them. */
#include "router/access/policies.h"

#include "common/descriptor.h"
#include "common/log.h"
#include "common/verify.h"
#include "router/access/principal.h"
#include "router/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { POLICY_FILE_MAX = 64 * 1024 * 1024 };

struct policy_file {
    struct policy_file *next;
    uint8_t kind;
    uint16_t listener;
    char *text;
    size_t text_len;
    char name[];
};

/* Notes the first thing that is wrong. */
static void PRINTF_LIKE(2, 3) fail(struct policies *p, const char *format, ...)
{
    va_list arguments;

    if (p->error[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(p->error, sizeof(p->error), format, arguments);
    va_end(arguments);
}

void policies_take_file(struct router *r, const struct mc_file *m, int fd)
{
    struct policy_file *file = calloc(1, sizeof(*file) + m->name.len + 1);

    VERIFY(file != NULL);
    memcpy(file->name, m->name.data, m->name.len);
    file->kind = m->kind;
    file->listener = m->listener;
    file->text = descriptor_read_all(fd, POLICY_FILE_MAX, &file->text_len);
    if (file->text == NULL)
        fail(&r->policies, "%s cannot be read: %s", file->name, strerror(errno));
    close(fd);
    file->next = r->policies.files;
    r->policies.files = file;
}

static void free_files(struct policies *p)
{
    while (p->files != NULL) {
        struct policy_file *file = p->files;
        p->files = file->next;
        free(file->text);
        free(file);
    }
}

/* --- parsing --- */

struct reading {
    struct policies *policies;
    unsigned listener;
};

static char *include(void *context, const char *name, size_t *len, const char **why)
{
    const struct reading *reading = context;

    for (const struct policy_file *f = reading->policies->files; f != NULL; f = f->next) {
        bool ours = f->listener == reading->listener || f->listener == LISTENERS_MAX;
        if (f->kind != FILE_ACL_INCLUDE || !ours || f->text == NULL || strcmp(f->name, name) != 0)
            continue;
        char *copy = malloc(f->text_len + 1);
        VERIFY(copy != NULL);
        memcpy(copy, f->text, f->text_len + 1);
        *len = f->text_len;
        return copy;
    }
    *why = "it was not given to the router";
    return NULL;
}

static void report(void *context, const char *file, unsigned line, const char *text)
{
    const struct reading *reading = context;

    log_error("%s:%u: %s", file, line, text);
    fail(reading->policies, "%s:%u: %s", file, line, text);
}

static struct policy *read_policy(struct router *r, const struct policy_file *file)
{
    struct reading reading = {.policies = &r->policies, .listener = file->listener};
    const struct policy_options options = {.protected_mode = r->settings.setup.protected_mode != 0,
                                           .wildcard = r->settings.setup.wildcard_strict != 0
                                                           ? POLICY_WILDCARD_STRICT
                                                           : POLICY_WILDCARD_FILTER};
    const struct policy_source source = {.context = &reading, .include = include, .report = report};

    if (file->kind != FILE_ACL)
        return policy_new(&options);
    if (file->text == NULL)
        return NULL;
    return policy_parse(file->name, slice_of(file->text, file->text_len), &options, &source);
}

static void let_go(struct policy *policies[LISTENERS_MAX])
{
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (policies[i] != NULL)
            policy_unref(policies[i]);
        policies[i] = NULL;
    }
}

/* Gives a listener the policy in place of what it had. */
static void give(struct policies *p, unsigned listener, struct policy *policy)
{
    if (p->next[listener] != NULL)
        policy_unref(p->next[listener]);
    p->next[listener] = policy_ref(policy);
}

bool policies_prepare(struct router *r)
{
    struct policies *p = &r->policies;
    static const struct policy_file none = {.kind = FILE_KIND_COUNT, .listener = LISTENERS_MAX};
    struct policy *open = read_policy(r, &none);

    let_go(p->next);
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        give(p, i, open);
    policy_unref(open);
    for (const struct policy_file *f = p->files; f != NULL; f = f->next) {
        if (f->kind != FILE_ACL)
            continue;
        struct policy *policy = read_policy(r, f);
        if (policy == NULL) {
            fail(p, "%s cannot be used", f->name);
            continue;
        }
        for (unsigned i = 0; i < LISTENERS_MAX; i++) {
            if (f->listener == i || f->listener == LISTENERS_MAX)
                give(p, i, policy);
        }
        policy_unref(policy);
    }
    return p->error[0] == '\0';
}

/* --- service --- */

void policies_forget(struct router *r)
{
    struct policies *p = &r->policies;

    let_go(p->next);
    free_files(p);
    p->error[0] = '\0';
}

void policies_commit(struct router *r)
{
    struct policies *p = &r->policies;

    let_go(p->of);
    memcpy(p->of, p->next, sizeof(p->of));
    memset(p->next, 0, sizeof(p->next));
    policies_forget(r);
    r->epoch++;
    p->one_for_all = true;
    p->use_client_id = false;
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        policy_set_epoch(p->of[i], r->epoch);
        p->one_for_all &= p->of[i] == p->of[0];
        p->use_client_id |= policy_uses_client_id(p->of[i]);
    }
}

void policies_free(struct router *r)
{
    policies_forget(r);
    let_go(r->policies.of);
}

/* --- binding --- */

static struct policy_view *bind(struct policy *policy, const struct principal *principal,
                                struct slice client_id)
{
    struct policy_principal who = {.anonymous = principal->anonymous,
                                   .user = principal_name(principal),
                                   .client_id = client_id};

    return policy_bind(policy, &who);
}

struct policy_view *policies_bind(struct router *r, unsigned listener, struct principal *principal,
                                  struct slice client_id)
{
    struct policy *policy = r->policies.of[listener];

    if (policy_uses_client_id(policy))
        return bind(policy, principal, client_id);
    if (principal->view_policy != policy || principal->view_epoch != r->epoch) {
        if (principal->view != NULL)
            policy_view_unref(principal->view);
        principal->view = bind(policy, principal, slice_of(NULL, 0));
        principal->view_policy = policy;
        principal->view_epoch = r->epoch;
    }
    return policy_view_ref(principal->view);
}
