/* What check found, collected to be told by file and line. */
#ifndef BULKHEAD_POLICY_FINDINGS_H
#define BULKHEAD_POLICY_FINDINGS_H

#include "common/log.h"
#include "policy/internal.h"
#include "policy/tool.h"

struct findings;

struct findings *findings_new(struct policy *policy);

/* One finding at a line; fault: see struct policy_findings. The text must be escaped. */
void findings_add(struct findings *findings, uint32_t file, uint32_t line, bool fault,
                  const char *format, ...) PRINTF_LIKE(5, 6);

/* The same at a rule, by its number. */
void findings_add_rule(struct findings *findings, uint32_t rule, bool fault, const char *format,
                       ...) PRINTF_LIKE(4, 5);

/* Writes them, sorted, and frees findings. */
struct policy_findings findings_tell(struct findings *findings, FILE *out);

/* Findings that follow from comparing rules one by one (check_rules.c). */
void check_rules(const struct policy *policy, struct findings *findings);

/* Findings that follow from what principals may do (check_access.c). */
void check_access(struct policy *policy, struct findings *findings);

#endif
