/* Policies as objects: their making and end, limits by name, and what is said about them. */
#include "policy/internal.h"
#include "policy/memory.h"
#include "policy/text.h"

#include <stdio.h>

#define LIMIT(name, least, greatest)                                                               \
    {                                                                                              \
#name, offsetof(struct policy_limits, name), least, greatest                               \
    }
const struct limit_kind limit_kinds[] = {
    LIMIT(connections, 0, UINT32_MAX),
    LIMIT(publish_rate, 0, UINT32_MAX),
    LIMIT(publish_bytes, 0, INT64_MAX),
    LIMIT(subscriptions, 0, UINT32_MAX),
    LIMIT(retained_count, 0, UINT32_MAX),
    LIMIT(retained_bytes, 0, INT64_MAX),
    LIMIT(queue_bytes, 0, INT64_MAX),
    LIMIT(message_size, 0, MQTT_PACKET_MAX),
    LIMIT(qos, 0, 2),
    LIMIT(keepalive, 1, UINT16_MAX),
};
#undef LIMIT
const size_t limit_kind_count = sizeof(limit_kinds) / sizeof(limit_kinds[0]);

const struct limit_kind *limit_kind_of(struct slice name)
{
    for (size_t i = 0; i < limit_kind_count; i++) {
        if (slice_is(name, limit_kinds[i].name))
            return &limit_kinds[i];
    }
    return NULL;
}

void limits_unset(struct policy_limits *limits)
{
    for (size_t i = 0; i < limit_kind_count; i++)
        *limit_value(limits, &limit_kinds[i]) = POLICY_LIMIT_UNSET;
}

struct policy *policy_new_empty(const struct policy_options *options)
{
    struct policy *policy = memory_get(1, sizeof(*policy));

    policy->references = 1;
    policy->protected_mode = options->protected_mode;
    policy->strict = options->wildcard == POLICY_WILDCARD_STRICT ||
                     (options->wildcard == POLICY_WILDCARD_DEFAULT && options->protected_mode);
    limits_unset(&policy->limits);
    return policy;
}

struct policy *policy_new(const struct policy_options *options)
{
    return policy_new_empty(options);
}

struct policy *policy_ref(struct policy *policy)
{
    policy->references++;
    return policy;
}

void policy_unref(struct policy *policy)
{
    VERIFY(policy->references > 0);
    if (--policy->references > 0)
        return;
    for (uint32_t i = 0; i < policy->file_count; i++) {
        free(policy->files[i].name);
        free(policy->files[i].text);
    }
    trie_free(&policy->trie);
    free(policy->rules);
    free(policy->blocks);
    free(policy->grants);
    free(policy->levels);
    free(policy->by_rank);
    free(policy->by_name);
    free(policy);
}

uint32_t policy_epoch(const struct policy *policy)
{
    return policy->epoch;
}

void policy_set_epoch(struct policy *policy, uint32_t epoch)
{
    policy->epoch = epoch;
}

bool policy_uses_client_id(const struct policy *policy)
{
    return policy->uses_client;
}

bool policy_is_open(const struct policy *policy)
{
    return !policy->has_rules && !policy->protected_mode;
}

void policy_rule_text(const struct policy *policy, uint32_t rule, char *text, size_t size)
{
    VERIFY(rule < policy->rule_count);
    text_escape(text, size, policy->rules[rule].text);
}

static const char *reason_text(const struct policy_verdict *verdict)
{
    bool granted = verdict->result != POLICY_DENIED;

    switch (verdict->reason) {
    case POLICY_BY_RULE:
        return granted ? "allowed by" : "denied by";
    case POLICY_BY_DEFAULT:
        return "no rule allows it";
    case POLICY_BY_OPEN:
        return "there is no policy file";
    case POLICY_BY_PROTECTED:
        return granted ? "protected mode: own first level" : "protected mode: not its own topic";
    case POLICY_BY_BROKER_TOPIC:
        return "only the broker publishes there";
    case POLICY_BY_NAME:
        return "the names or roles of this client cannot be judged by the rules";
    case POLICY_BY_SYNTAX:
        return "not a valid topic or filter";
    case POLICY_BY_STRICT:
        return "reaches beyond what it may read (wildcard_policy strict)";
    case POLICY_BY_EFFORT:
        return "too costly to compare with the rules; judged as reaching beyond them";
    }
    VERIFY(false);
}

void policy_verdict_text(const struct policy *policy, const struct policy_verdict *verdict,
                         char *text, size_t size)
{
    const char *partly =
        verdict->result == POLICY_OVERLAP ? "in part, every delivery decided: " : "";
    char rule[256];

    if (verdict->rule == POLICY_NO_RULE) {
        snprintf(text, size, "%s%s", partly, reason_text(verdict));
        return;
    }
    policy_rule_text(policy, verdict->rule, rule, sizeof(rule));
    if (verdict->reason == POLICY_BY_RULE) {
        snprintf(text, size, "%s%s:%u: %s", partly, verdict->file, verdict->line, rule);
    } else {
        snprintf(text, size, "%s%s; %s:%u: %s", partly, reason_text(verdict), verdict->file,
                 verdict->line, rule);
    }
}
