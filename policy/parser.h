/* The state of a parse, shared by the reader of lines (parse.c) and the statements. */
#ifndef BULKHEAD_POLICY_PARSER_H
#define BULKHEAD_POLICY_PARSER_H

#include "common/keyed_table.h"
#include "common/log.h"
#include "policy/internal.h"

/* A file that is being read. Each starts outside of any block and leaves the block of the file
 * that includes it as it was. */
struct parser_file {
    uint32_t file;
    uint32_t line;
    uint32_t block;    /* a user's or role's, or ANONYMOUS_BLOCK: outside */
    bool inside_block; /* included from inside a block */
};

/* A grant whose role may not have been seen yet. */
struct pending_grant {
    struct slice role;
    uint32_t user;
    uint32_t file, line;
};

struct parser {
    struct policy *policy;
    const struct policy_source *source;
    struct parser_file open[POLICY_DEPTH_MAX];
    uint32_t depth; /* number of open files */
    uint32_t statements;
    uint32_t errors;
    struct slice line; /* trimmed */

    struct keyed_table blocks; /* struct block_link by kind and name */
    struct pending_grant *grants;
    uint32_t grant_count, grant_capacity;
};

static inline struct parser_file *parser_at(struct parser *parser)
{
    return &parser->open[parser->depth - 1];
}

/* Reports an error at the current line: what is wrong and what to do. Values in it must be
 * escaped. Returns false, to be passed on. */
bool parser_error(struct parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

/* The same for another place. */
bool parser_error_at(struct parser *parser, uint32_t file, uint32_t line, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The block of a user or role, made if it is new. */
uint32_t parser_block(struct parser *parser, enum block_kind kind, struct slice name);

/* The block if it exists, else TRIE_NONE. */
uint32_t parser_find_block(const struct parser *parser, enum block_kind kind, struct slice name);

/* Parses one line that is neither empty nor a comment. */
void parser_statement(struct parser *parser);

/* Reads the text of policy file number `file`, its statements and those it includes. */
void parser_read_file(struct parser *parser, uint32_t file);

/* Adds a file to the policy, which owns text from now on. Returns its number. */
uint32_t parser_add_file(struct parser *parser, const char *name, char *text, size_t len);

#endif
