/* check: what an auditor would ask about a policy. */
#include "policy/findings.h"
#include "policy/memory.h"
#include "policy/text.h"

#include <stdio.h>

struct finding {
    uint32_t file, line;
    uint32_t order; /* of being found */
    bool fault;
    char *text;
};

struct findings {
    struct policy *policy;
    struct finding *list;
    uint32_t count, capacity;
};

struct findings *findings_new(struct policy *policy)
{
    struct findings *findings = memory_get(1, sizeof(*findings));

    findings->policy = policy;
    return findings;
}

static void PRINTF_LIKE(5, 0) add(struct findings *findings, uint32_t file, uint32_t line,
                                  bool fault, const char *format, va_list arguments)
{
    char text[2048];

    vsnprintf(text, sizeof(text), format, arguments);
    findings->list = memory_grow(findings->list, &findings->capacity, findings->count + 1,
                                 sizeof(*findings->list));
    findings->list[findings->count] = (struct finding){.file = file,
                                                       .line = line,
                                                       .order = findings->count,
                                                       .fault = fault,
                                                       .text = memory_copy(text, strlen(text))};
    findings->count++;
}

void findings_add(struct findings *findings, uint32_t file, uint32_t line, bool fault,
                  const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add(findings, file, line, fault, format, arguments);
    va_end(arguments);
}

void findings_add_rule(struct findings *findings, uint32_t rule, bool fault, const char *format,
                       ...)
{
    const struct policy_rule *at = &findings->policy->rules[rule];
    va_list arguments;

    va_start(arguments, format);
    add(findings, at->file, at->line, fault, format, arguments);
    va_end(arguments);
}

static int compare_findings(const void *left, const void *right)
{
    const struct finding *a = left;
    const struct finding *b = right;

    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

struct policy_findings findings_tell(struct findings *findings, FILE *out)
{
    struct policy_findings told = {0};
    char file[TEXT_MAX];

    if (findings->count > 0)
        qsort(findings->list, findings->count, sizeof(*findings->list), compare_findings);
    for (uint32_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        text_escape(file, sizeof(file), slice_text(findings->policy->files[finding->file].name));
        fprintf(out, "%s:%u: %s: %s\n", file, finding->line, finding->fault ? "fault" : "fact",
                finding->text);
        told.faults += finding->fault;
        told.facts += !finding->fault;
        free(finding->text);
    }
    free(findings->list);
    free(findings);
    return told;
}

struct policy_findings policy_tool_check(struct policy *policy, FILE *out)
{
    struct findings *findings = findings_new(policy);

    if (policy->has_rules) {
        check_rules(policy, findings);
        check_access(policy, findings);
    }
    struct policy_findings told = findings_tell(findings, out);
    if (!policy->has_rules) {
        fprintf(out, "there is no policy file: %s\n",
                policy->protected_mode ? "every user has all of its own first level"
                                       : "everyone may do everything, anonymous clients too");
        told.facts++;
    }
    return told;
}
