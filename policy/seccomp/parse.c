/* Reads a policy's text. Nothing is guessed: what is not understood stops the build. */
#include "policy/seccomp/policy.h"

#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, WORD_MAX_BYTES = 64 };

struct reader {
    const char *name;
    int line;
    const char *at; /* in the line being read */
    char *message;
};

static bool __attribute__((format(printf, 2, 3))) wrong(struct reader *r, const char *format, ...)
{
    char what[POLICY_MESSAGE_MAX / 2];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    snprintf(r->message, POLICY_MESSAGE_MAX, "%.100s:%d: %s", r->name, r->line, what);
    return false;
}

static void skip_blanks(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
}

/* Takes `token` when it is next. */
static bool take(struct reader *r, const char *token)
{
    skip_blanks(r);
    size_t len = strlen(token);
    if (strncmp(r->at, token, len) != 0)
        return false;
    r->at += len;
    return true;
}

/* Takes a name or number: letters, digits and underscores. */
static bool take_word(struct reader *r, char word[WORD_MAX_BYTES])
{
    size_t len = 0;

    skip_blanks(r);
    while (isalnum((unsigned char)r->at[len]) || r->at[len] == '_')
        len++;
    if (len == 0 || len >= WORD_MAX_BYTES)
        return wrong(r, "expected a name or a number at \"%.20s\"", r->at);
    memcpy(word, r->at, len);
    word[len] = '\0';
    r->at += len;
    return true;
}

/* Takes the ~ that stand here: what the value after them is to be combined with by ^. */
static uint64_t take_turns(struct reader *r)
{
    uint64_t turned = 0;

    while (take(r, "~"))
        turned = ~turned;
    return turned;
}

/* Takes a | that is not the beginning of a ||. */
static bool take_bar(struct reader *r)
{
    skip_blanks(r);
    if (r->at[0] != '|' || r->at[1] == '|')
        return false;
    r->at++;
    return true;
}

/* A number or the name of a constant. */
static bool parse_atom(struct reader *r, uint64_t *value)
{
    char word[WORD_MAX_BYTES];
    char *end;

    if (!take_word(r, word))
        return false;
    if (!isdigit((unsigned char)word[0]))
        return policy_constant(word, value) || wrong(r, "unknown constant \"%s\"", word);
    errno = 0;
    *value = strtoull(word, &end, 0);
    return (errno == 0 && *end == '\0') || wrong(r, "\"%s\" is not a number", word);
}

/* What is between parentheses: atoms joined by |. */
static bool parse_bracket(struct reader *r, uint64_t *value)
{
    *value = 0;
    do {
        uint64_t turned = take_turns(r);
        uint64_t more;
        if (!parse_atom(r, &more))
            return false;
        *value |= more ^ turned;
    } while (take_bar(r));
    return take(r, ")") || wrong(r, "a ) is missing");
}

/* Atoms and parentheses, which do not nest, joined by |. */
static bool parse_value(struct reader *r, uint64_t *value)
{
    *value = 0;
    do {
        uint64_t turned = take_turns(r);
        uint64_t more;
        if (take(r, "(") ? !parse_bracket(r, &more) : !parse_atom(r, &more))
            return false;
        *value |= more ^ turned;
    } while (take_bar(r));
    return true;
}

static bool parse_operator(struct reader *r, enum policy_operator *op)
{
    static const struct {
        const char *text;
        enum policy_operator op;
    } operators[] = {{"==", OP_EQ}, {"<=", OP_LE}, {"<", OP_LT}, {"in ", OP_IN}};

    skip_blanks(r);
    if (r->at[0] == '>' || strncmp(r->at, "!=", 2) == 0)
        return wrong(r, "!=, > and >= let hostile upper halves pass: say what is allowed");
    if (r->at[0] == '&' && r->at[1] != '&') {
        r->at++;
        *op = OP_ANY;
        return true;
    }
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (take(r, operators[i].text)) {
            *op = operators[i].op;
            return true;
        }
    }
    return wrong(r, "expected a comparison at \"%.20s\"", r->at);
}

static bool parse_term(struct reader *r, struct policy_term *term)
{
    char word[WORD_MAX_BYTES];

    if (!take_word(r, word))
        return false;
    if (strncmp(word, "arg", 3) != 0 || word[3] < '0' || word[3] >= '0' + POLICY_ARGUMENTS ||
        word[4] != '\0')
        return wrong(r, "expected arg0 to arg%d, not \"%s\"", POLICY_ARGUMENTS - 1, word);
    term->argument = (unsigned)(word[3] - '0');
    if (!parse_operator(r, &term->op) || !parse_value(r, &term->value))
        return false;
    if (term->op == OP_ANY && term->value == 0)
        return wrong(r, "no bit to test for");
    return true;
}

static bool parse_groups(struct reader *r, struct policy_rule *rule)
{
    do {
        if (rule->group_count == POLICY_GROUPS_MAX)
            return wrong(r, "more than %d alternatives", POLICY_GROUPS_MAX);
        struct policy_group *group = &rule->groups[rule->group_count++];
        do {
            if (group->count == POLICY_TERMS_MAX)
                return wrong(r, "more than %d conditions", POLICY_TERMS_MAX);
            if (!parse_term(r, &group->terms[group->count++]))
                return false;
        } while (take(r, "&&"));
    } while (take(r, "||"));
    return true;
}

static bool parse_return(struct reader *r, struct policy_rule *rule)
{
    char word[WORD_MAX_BYTES];

    if (!take_word(r, word))
        return false;
    rule->error = policy_errno(word);
    return rule->error > 0 || wrong(r, "unknown error \"%s\"", word);
}

/* What follows the colon. */
static bool parse_action(struct reader *r, struct policy_rule *rule)
{
    skip_blanks(r);
    if (r->at[0] == '1' && strspn(r->at + 1, " \t") == strlen(r->at + 1)) {
        r->at += strlen(r->at);
        return true;
    }
    if (take(r, "return "))
        return parse_return(r, rule);
    return parse_groups(r, rule);
}

static bool parse_rule(struct reader *r, struct policy *policy)
{
    char word[WORD_MAX_BYTES];

    if (policy->rule_count == POLICY_RULES_MAX)
        return wrong(r, "more than %d rules", POLICY_RULES_MAX);
    struct policy_rule *rule = &policy->rules[policy->rule_count];
    rule->line = r->line;
    if (!take_word(r, word))
        return false;
    rule->number = seccomp_syscall_resolve_name(word);
    if (rule->number == __NR_SCMP_ERROR)
        return wrong(r, "unknown system call \"%s\"", word);
    if (rule->number < 0)
        return wrong(r, "this machine has no system call \"%s\"", word);
    for (unsigned i = 0; i < policy->rule_count; i++) {
        if (policy->rules[i].number == rule->number)
            return wrong(r, "\"%s\" has a rule already in line %d", word, policy->rules[i].line);
    }
    if (!take(r, ":"))
        return wrong(r, "expected a : after \"%s\"", word);
    if (!parse_action(r, rule))
        return false;
    skip_blanks(r);
    if (*r->at != '\0')
        return wrong(r, "did not understand \"%.20s\"", r->at);
    policy->rule_count++;
    return true;
}

/* Copies one line, joined with those that continue it and cut at a comment, into `line`. */
static bool next_line(struct reader *r, const char **text, char line[LINE_MAX_BYTES], int *lines)
{
    size_t len = 0;

    for (bool more = true; more;) {
        size_t end = strcspn(*text, "\n");
        size_t used = strcspn(*text, "#\n");
        more = used == end && used > 0 && (*text)[used - 1] == '\\';
        if (more)
            used--;
        if (len + used >= LINE_MAX_BYTES)
            return wrong(r, "line too long");
        memcpy(line + len, *text, used);
        len += used;
        *text += end;
        if (**text == '\n') {
            (*text)++;
        } else if (more) {
            return wrong(r, "nothing follows the \\");
        }
        ++*lines;
    }
    line[len] = '\0';
    return true;
}

bool policy_parse(struct policy *policy, const char *name, const char *text,
                  char message[POLICY_MESSAGE_MAX])
{
    struct reader reader = {.name = name, .line = 1, .message = message};
    char line[LINE_MAX_BYTES] = "";

    memset(policy, 0, sizeof(*policy));
    while (*text != '\0') {
        int lines = 0;
        if (!next_line(&reader, &text, line, &lines))
            return false;
        reader.at = line;
        skip_blanks(&reader);
        if (*reader.at != '\0' && !parse_rule(&reader, policy))
            return false;
        reader.line += lines;
    }
    return policy->rule_count > 0 || wrong(&reader, "no rule in it");
}

bool policy_allow_stderr(struct policy *policy)
{
    int number = seccomp_syscall_resolve_name("write");
    struct policy_rule *rule = policy->rules;

    while (rule < policy->rules + policy->rule_count && rule->number != number)
        rule++;
    if (rule == policy->rules + policy->rule_count) {
        if (policy->rule_count == POLICY_RULES_MAX)
            return false;
        *rule = (struct policy_rule){.number = number};
        policy->rule_count++;
    } else if (rule->error == 0 && rule->group_count == 0) {
        return true; /* allowed already */
    }
    if (rule->group_count == POLICY_GROUPS_MAX)
        return false;
    rule->error = 0;
    rule->groups[rule->group_count++] = (struct policy_group){
        .count = 1, .terms = {{.argument = 0, .op = OP_EQ, .value = STDERR_FILENO}}};
    return true;
}
