/* The statements of a policy file, one handler each. */
#include "policy/lines.h"
#include "policy/memory.h"
#include "policy/parser.h"
#include "policy/text.h"

#include "common/topic.h"

#include <stdio.h>

enum { SHOWN_MAX = 128 };

/* A value of the file, fit to stand in a message. */
struct shown {
    char text[SHOWN_MAX];
};

static struct shown show(struct slice value)
{
    struct shown shown = {{0}};

    text_escape(shown.text, sizeof(shown.text), value);
    return shown;
}

#define ACCESS_READ  (ACTION_BIT(POLICY_READ) | ACTION_BIT(POLICY_SUBSCRIBE))
#define ACCESS_WRITE ACTION_BIT(POLICY_PUBLISH)

static const struct {
    const char *word;
    unsigned access;
} access_words[] = {
    {"read", ACCESS_READ},
    {"write", ACCESS_WRITE},
    {"readwrite", ACCESS_READ | ACCESS_WRITE},
    {"subscribe", ACTION_BIT(POLICY_SUBSCRIBE)},
    {"deny", 0},
};

static bool access_of(struct slice word, unsigned *access)
{
    for (size_t i = 0; i < sizeof(access_words) / sizeof(access_words[0]); i++) {
        if (slice_is(word, access_words[i].word)) {
            *access = access_words[i].access;
            return true;
        }
    }
    return false;
}

static bool contains(struct slice text, const char *part)
{
    return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

/* What one level of a rule stands for. In a pattern a name takes the place of a whole level: next
 * to other text, one user's name could be completed into another's. */
static bool level_of(struct parser *parser, struct policy_rule *rule, struct level *level)
{
    struct slice text = level->text;

    level->kind = LEVEL_LITERAL;
    if (slice_is(text, "+")) {
        level->kind = LEVEL_PLUS;
    } else if (slice_is(text, "#")) {
        level->kind = LEVEL_HASH;
    } else if (rule->pattern && slice_is(text, "%u")) {
        level->kind = LEVEL_USER;
        rule->uses_user = true;
    } else if (rule->pattern && slice_is(text, "%c")) {
        level->kind = LEVEL_CLIENT;
        rule->uses_client = true;
    } else if (rule->pattern && (contains(text, "%u") || contains(text, "%c"))) {
        return parser_error(parser,
                            "%%u and %%c must be alone in their topic level, but '%s' has more; "
                            "put the rest into a level of its own",
                            show(text).text);
    }
    return true;
}

static bool split_filter(struct parser *parser, struct policy_rule *rule)
{
    struct policy *policy = parser->policy;
    struct slice rest = rule->filter;
    bool more = true;

    rule->level = policy->level_count;
    while (more) {
        const uint8_t *slash = memchr(rest.data, '/', rest.len);
        more = slash != NULL;
        uint32_t len = more ? (uint32_t)(slash - rest.data) : rest.len;
        policy->levels = memory_grow(policy->levels, &policy->level_capacity,
                                     policy->level_count + 1, sizeof(*policy->levels));
        struct level *level = &policy->levels[policy->level_count++];
        level->text = slice_of(rest.data, len);
        if (!level_of(parser, rule, level))
            return false;
        rest = more ? slice_of(slash + 1, rest.len - len - 1) : rest;
    }
    rule->levels = policy->level_count - rule->level;
    return true;
}

static bool filter_is_valid(struct slice filter)
{
    struct topic_filter parsed;

    /* A rule may be about $share, to no effect: it is a topic like another. */
    if (topic_filter_parse(filter, &parsed) && parsed.group.len == 0)
        return true;
    return filter.len >= 6 && memcmp(filter.data, "$share", 6) == 0 &&
           topic_filter_parse(slice_of(filter.data + 1, filter.len - 1), &parsed);
}

/* Where a rule at this place belongs. */
static bool rule_block(struct parser *parser, struct policy_rule *rule)
{
    const struct parser_file *at = parser_at(parser);
    bool role = parser->policy->blocks[at->block].kind == BLOCK_ROLE;

    rule->user_block = parser->policy->blocks[at->block].kind == BLOCK_USER ? at->block : TRIE_NONE;
    if (rule->pattern && !role) {
        rule->block = EVERYONE_BLOCK;
        return true;
    }
    rule->block = at->block;
    if (at->block == ANONYMOUS_BLOCK && at->inside_block) {
        return parser_error(parser,
                            "this rule is for anonymous clients, but the file is included from "
                            "inside a block; begin it with 'user' or 'role', or move the include "
                            "to the top of its file");
    }
    return true;
}

static bool parse_rule(struct parser *parser, struct slice rest, bool pattern)
{
    struct policy *policy = parser->policy;
    const char *keyword = pattern ? "pattern" : "topic";
    struct policy_rule rule = {
        .file = parser_at(parser)->file,
        .line = parser_at(parser)->line,
        .pattern = pattern,
        .access = ACCESS_READ | ACCESS_WRITE,
        .text = parser->line,
        .filter = rest,
    };
    unsigned access;
    struct slice word = take_word(&rest);

    if (word.len == 0) {
        return parser_error(parser,
                            "there is no topic; write '%s [read|write|readwrite|subscribe|"
                            "deny] TOPIC'",
                            keyword);
    }
    if (access_of(word, &access)) {
        if (rest.len == 0) {
            return parser_error(parser,
                                "there is no topic behind '%s'; write it, or '%s readwrite %s' "
                                "for the topic of that name",
                                show(word).text, keyword, show(word).text);
        }
        rule.access = access;
        rule.filter = rest;
    } else if (rest.len > 0) {
        return parser_error(parser,
                            "'%s' is no access word; use read, write, readwrite, subscribe or "
                            "deny, also before a topic that has a space in it",
                            show(word).text);
    }
    if (!filter_is_valid(rule.filter)) {
        return parser_error(parser,
                            "'%s' is not a topic filter; + and # stand alone in a level, # only "
                            "in the last, and there are at most %u levels",
                            show(rule.filter).text, TOPIC_LEVELS_MAX);
    }
    if (policy->rule_count >= POLICY_RULES_MAX) {
        return parser_error(parser, "there are more than %d rules; use patterns or roles",
                            POLICY_RULES_MAX);
    }
    if (!rule_block(parser, &rule) || !split_filter(parser, &rule))
        return false;
    policy->rules = memory_grow(policy->rules, &policy->rule_capacity, policy->rule_count + 1,
                                sizeof(*policy->rules));
    policy->rules[policy->rule_count++] = rule;
    policy->blocks[rule.block].rules++;
    return true;
}

static bool parse_topic(struct parser *parser, struct slice rest)
{
    return parse_rule(parser, rest, false);
}

static bool parse_pattern(struct parser *parser, struct slice rest)
{
    return parse_rule(parser, rest, true);
}

static bool parse_user(struct parser *parser, struct slice rest)
{
    if (rest.len == 0)
        return parser_error(parser, "there is no user name; write 'user NAME'");
    if (rest.len > MQTT_STRING_MAX)
        return parser_error(parser, "the user name is longer than any client can send");
    parser_at(parser)->block = parser_block(parser, BLOCK_USER, rest);
    return true;
}

static bool role_name_is_valid(struct slice name)
{
    for (uint32_t i = 0; i < name.len; i++) {
        uint8_t byte = name.data[i];
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '.' ||
                     byte == ':' || byte == '@';
        if (!plain)
            return false;
    }
    return name.len > 0 && name.len <= POLICY_NAME_MAX;
}

static bool parse_role(struct parser *parser, struct slice rest)
{
    struct slice name = take_word(&rest);

    if (rest.len > 0 || !role_name_is_valid(name)) {
        return parser_error(parser, "a role's name is one word of letters, digits and _ - . : @; "
                                    "write 'role NAME'");
    }
    parser_at(parser)->block = parser_block(parser, BLOCK_ROLE, name);
    return true;
}

static bool parse_grant(struct parser *parser, struct slice rest)
{
    struct slice role = take_word(&rest);
    struct slice to = take_word(&rest);

    if (!slice_is(to, "to") || rest.len == 0 || rest.len > MQTT_STRING_MAX ||
        !role_name_is_valid(role))
        return parser_error(parser, "write 'grant ROLE to USER'");
    if (slice_is(role, ADMIN_ROLE))
        parser_block(parser, BLOCK_ROLE, role);
    parser->grants = memory_grow(parser->grants, &parser->grant_capacity, parser->grant_count + 1,
                                 sizeof(*parser->grants));
    parser->grants[parser->grant_count++] = (struct pending_grant){
        .role = role,
        .user = parser_block(parser, BLOCK_USER, rest),
        .file = parser_at(parser)->file,
        .line = parser_at(parser)->line,
    };
    return true;
}

static bool parse_limit(struct parser *parser, struct slice rest)
{
    const struct parser_file *at = parser_at(parser);
    const struct limit_kind *kind = limit_kind_of(take_word(&rest));
    uint64_t number;

    if (kind == NULL) {
        return parser_error(parser, "there is no such limit; use connections, publish_rate, "
                                    "publish_bytes, subscriptions, retained_count, "
                                    "retained_bytes, queue_bytes, message_size, qos or keepalive");
    }
    if (!number_of(rest, &number) || number < kind->least || number > kind->greatest) {
        return parser_error(parser,
                            "'%s' is not a value of %s; write a whole number from %llu to %llu",
                            show(rest).text, kind->name, (unsigned long long)kind->least,
                            (unsigned long long)kind->greatest);
    }
    if (at->block == ANONYMOUS_BLOCK && at->inside_block) {
        return parser_error(parser, "this limit is for everyone, but the file is included from "
                                    "inside a block; begin it with 'user' or 'role'");
    }
    uint64_t *value =
        limit_value(at->block == ANONYMOUS_BLOCK ? &parser->policy->limits
                                                 : &parser->policy->blocks[at->block].limits,
                    kind);
    if (*value != POLICY_LIMIT_UNSET)
        return parser_error(parser, "limit %s is given twice here; keep one", kind->name);
    *value = number;
    return true;
}

/* Files are named from the folder of the first one and never lead out of it. */
static bool include_name_is_valid(struct slice name)
{
    struct slice rest = name;

    if (name.len == 0 || name.len > POLICY_NAME_MAX)
        return false;
    for (;;) {
        const uint8_t *slash = memchr(rest.data, '/', rest.len);
        struct slice part =
            slice_of(rest.data, slash != NULL ? (size_t)(slash - rest.data) : rest.len);
        if (part.len == 0 || slice_is(part, ".") || slice_is(part, ".."))
            return false;
        if (slash == NULL)
            return true;
        rest = slice_of(slash + 1, rest.len - part.len - 1);
    }
}

static bool already_read(const struct policy *policy, const char *name)
{
    for (uint32_t i = 1; i < policy->file_count; i++) {
        if (strcmp(policy->files[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool parse_include(struct parser *parser, struct slice rest)
{
    const struct policy_source *source = parser->source;
    const char *why = "it cannot be read here";
    char name[POLICY_NAME_MAX + 1] = {0};
    size_t len = 0;

    if (!include_name_is_valid(rest)) {
        return parser_error(parser, "write 'include FILE' with a file in this policy's folder or "
                                    "below it, without a leading / and without . and ..");
    }
    memcpy(name, rest.data, rest.len);
    if (already_read(parser->policy, name)) {
        return parser_error(parser, "'%s' has been included before; include each file once",
                            show(rest).text);
    }
    if (parser->depth >= POLICY_DEPTH_MAX || parser->policy->file_count >= POLICY_FILES_MAX) {
        return parser_error(parser,
                            "more than %d files, or includes more than %d deep; put the "
                            "rules together",
                            POLICY_FILES_MAX, POLICY_DEPTH_MAX);
    }
    char *text =
        source->include != NULL ? source->include(source->context, name, &len, &why) : NULL;
    if (text != NULL && len > POLICY_TEXT_MAX) {
        free(text);
        text = NULL;
        why = "it is too large";
    }
    if (text == NULL) {
        return parser_error(parser,
                            "the included file '%s' is missing: %s; without it the rules "
                            "would not be complete",
                            show(rest).text, why);
    }
    parser_read_file(parser, parser_add_file(parser, name, text, len));
    return true;
}

static const struct {
    const char *word;
    bool (*parse)(struct parser *parser, struct slice rest);
} statements[] = {
    {"topic", parse_topic},     {"pattern", parse_pattern}, {"user", parse_user},
    {"role", parse_role},       {"grant", parse_grant},     {"limit", parse_limit},
    {"include", parse_include},
};

void parser_statement(struct parser *parser)
{
    struct slice rest = parser->line;
    struct slice word = take_word(&rest);

    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (slice_is(word, statements[i].word)) {
            parser->statements += statements[i].parse(parser, rest);
            return;
        }
    }
    parser_error(parser,
                 "'%s' is no statement; a line begins with topic, pattern, user, role, "
                 "grant, limit, include or #",
                 show(word).text);
}
