/* explain: one decision, with the rule that it rests on. */
#include "policy/internal.h"
#include "policy/text.h"
#include "policy/tool.h"
#include "policy/walk.h"

#include "common/topic.h"

enum { SHOWN_MAX = 256, REASON_MAX = 1024 };

bool policy_action_of(struct slice word, enum policy_action *action)
{
    static const char *const words[POLICY_ACTIONS] = {
        [POLICY_PUBLISH] = "publish", [POLICY_SUBSCRIBE] = "subscribe", [POLICY_READ] = "read"};

    for (unsigned i = 0; i < POLICY_ACTIONS; i++) {
        if (slice_is(word, words[i])) {
            *action = (enum policy_action)i;
            return true;
        }
    }
    return false;
}

const char *policy_action_text(enum policy_action action)
{
    return action == POLICY_PUBLISH     ? "publish to"
           : action == POLICY_SUBSCRIBE ? "subscribe to"
                                        : "read";
}

static void say_who(const struct policy_principal *principal, FILE *out)
{
    char shown[SHOWN_MAX];

    if (principal->anonymous) {
        fputs("anonymous", out);
    } else {
        text_escape(shown, sizeof(shown), principal->user);
        fprintf(out, "user '%s'", shown);
    }
    if (principal->client_id.len > 0) {
        text_escape(shown, sizeof(shown), principal->client_id);
        fprintf(out, ", client '%s'", shown);
    }
    for (size_t i = 0; i < principal->role_count; i++) {
        text_escape(shown, sizeof(shown), principal->roles[i]);
        fprintf(out, ", role '%s'", shown);
    }
}

/* One example for each side of a filter that is readable in part. */
struct sides {
    const struct policy_view *view;
    bool seen[2];
    char example[2][SHOWN_MAX];
    struct policy_verdict verdict[2];
};

static bool note_side(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    struct sides *sides = context;
    struct policy_verdict verdict =
        view_verdict(sides->view, POLICY_READ, leaf->scope[0], leaf->rank[0][POLICY_READ]);
    unsigned side = verdict.result == POLICY_ALLOWED ? 1 : 0;

    if (!sides->seen[side]) {
        sides->seen[side] = true;
        sides->verdict[side] = verdict;
        walk_example(walk, sides->example[side], sizeof(sides->example[side]));
    }
    return sides->seen[0] && sides->seen[1];
}

static void say_sides(const struct policy_view *view, struct slice topic, FILE *out)
{
    struct level levels[TOPIC_LEVELS_MAX];
    struct walk_filter within;
    struct topic_filter filter;
    struct sides sides = {.view = view};
    char reason[REASON_MAX];

    if (!topic_filter_parse(topic, &filter))
        return;
    walk_filter_split(&within, levels, filter.filter);
    walk_topics(&(struct walk_request){.views = {view},
                                       .view_count = 1,
                                       .within = &within,
                                       .actions = ACTION_BIT(POLICY_READ),
                                       .effort = WALK_EFFORT_TOOL,
                                       .leaf = note_side,
                                       .context = &sides});
    for (unsigned side = 2; side-- > 0;) {
        if (!sides.seen[side])
            continue;
        policy_verdict_text(view->policy, &sides.verdict[side], reason, sizeof(reason));
        fprintf(out, "  %s: '%s' (%s)\n", side == 1 ? "readable" : "not readable",
                sides.example[side], reason);
    }
}

enum policy_result policy_tool_explain(struct policy *policy,
                                       const struct policy_principal *principal,
                                       enum policy_action action, struct slice topic, FILE *out)
{
    static const char *const results[] = {[POLICY_DENIED] = "denied",
                                          [POLICY_ALLOWED] = "allowed",
                                          [POLICY_OVERLAP] = "allowed in part"};
    struct policy_view *view = policy_bind(policy, principal);
    struct policy_verdict verdict;
    char text[REASON_MAX];

    policy_view_decide(view, action, topic, &verdict);
    say_who(principal, out);
    text_escape(text, sizeof(text), topic);
    fprintf(out, ": %s '%s': %s\n", policy_action_text(action), text, results[verdict.result]);
    policy_verdict_text(policy, &verdict, text, sizeof(text));
    fprintf(out, "  %s\n", text);
    if (!principal->anonymous && !policy_is_open(policy) && !policy_name_is_safe(principal->user)) {
        fputs("  a user of this name is refused at CONNECT: it could widen a pattern\n", out);
    } else if (verdict.reason == POLICY_BY_NAME && policy->uses_client &&
               !policy_name_is_safe(principal->client_id)) {
        fputs(principal->client_id.len == 0
                  ? "  a denial has %c in it: say which client with --client\n"
                  : "  a denial has %c in it, and this client id equals no level of a topic\n",
              out);
    }
    if (action == POLICY_SUBSCRIBE &&
        (verdict.result == POLICY_OVERLAP || verdict.reason == POLICY_BY_STRICT))
        say_sides(view, topic, out);
    policy_view_unref(view);
    return verdict.result;
}
