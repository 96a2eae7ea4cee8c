/* Reading a policy file: lines, comments, includes, and that all of it holds or none. */
#include "policy/lines.h"
#include "policy/memory.h"
#include "policy/parser.h"
#include "policy/text.h"

#include "common/mqtt_wire.h"

#include <stdio.h>

enum { ERRORS_SHOWN = 20 };

struct block_link {
    struct keyed_node node;
    uint32_t block;
};

static void PRINTF_LIKE(4, 0) report(struct parser *parser, uint32_t file, uint32_t line,
                                     const char *format, va_list arguments)
{
    char text[1024];

    parser->errors++;
    if (parser->source->report == NULL || parser->errors > ERRORS_SHOWN)
        return;
    vsnprintf(text, sizeof(text), format, arguments);
    parser->source->report(parser->source->context, parser->policy->files[file].name, line, text);
}

bool parser_error(struct parser *parser, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    report(parser, parser_at(parser)->file, parser_at(parser)->line, format, arguments);
    va_end(arguments);
    return false;
}

bool parser_error_at(struct parser *parser, uint32_t file, uint32_t line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    report(parser, file, line, format, arguments);
    va_end(arguments);
    return false;
}

uint32_t parser_find_block(const struct parser *parser, enum block_kind kind, struct slice name)
{
    uint64_t hash = keyed_hash_pair(kind, name.data, name.len);
    struct keyed_node *node = keyed_table_find(&parser->blocks, hash);

    for (; node != NULL; node = keyed_table_find_next(node)) {
        uint32_t index = KEYED_ENTRY(node, struct block_link, node)->block;
        const struct policy_block *block = &parser->policy->blocks[index];
        if (block->kind == kind && slice_equal(block->name, name))
            return index;
    }
    return TRIE_NONE;
}

static uint32_t add_block(struct parser *parser, enum block_kind kind, struct slice name)
{
    struct policy *policy = parser->policy;
    uint32_t index = policy->block_count++;

    policy->blocks = memory_grow(policy->blocks, &policy->block_capacity, policy->block_count,
                                 sizeof(*policy->blocks));
    policy->blocks[index] = (struct policy_block){.kind = kind, .name = name, .root = TRIE_NONE};
    limits_unset(&policy->blocks[index].limits);
    if (parser->depth > 0) {
        policy->blocks[index].file = parser_at(parser)->file;
        policy->blocks[index].line = parser_at(parser)->line;
    }
    return index;
}

uint32_t parser_block(struct parser *parser, enum block_kind kind, struct slice name)
{
    uint32_t index = parser_find_block(parser, kind, name);

    if (index != TRIE_NONE)
        return index;
    struct block_link *link = memory_get(1, sizeof(*link));
    link->block = add_block(parser, kind, name);
    keyed_table_insert(&parser->blocks, &link->node, keyed_hash_pair(kind, name.data, name.len));
    return link->block;
}

uint32_t parser_add_file(struct parser *parser, const char *name, char *text, size_t len)
{
    struct policy *policy = parser->policy;
    uint32_t index = policy->file_count++;

    VERIFY(index < POLICY_FILES_MAX);
    policy->files[index] = (struct policy_file){
        .name = memory_copy(name, strlen(name)), .text = text, .len = (uint32_t)len};
    return index;
}

static void read_line(struct parser *parser)
{
    bool comment = parser->line.len > 0 && parser->line.data[0] == '#';

    if (parser->line.len == 0)
        return;
    /* Comments may be in whatever encoding they were written in. */
    if (memchr(parser->line.data, '\0', parser->line.len) != NULL ||
        (!comment && (!mqtt_utf8_valid(parser->line) || text_has_control(parser->line)))) {
        parser_error(parser, "the line is not plain text; save the file as UTF-8 without control "
                             "characters, or restore it if it is damaged");
        return;
    }
    if (!comment)
        parser_statement(parser);
}

void parser_read_file(struct parser *parser, uint32_t file)
{
    struct slice text = slice_of(parser->policy->files[file].text, parser->policy->files[file].len);
    uint32_t before = parser->statements;
    bool inside = parser->depth > 0 &&
                  (parser_at(parser)->block != ANONYMOUS_BLOCK || parser_at(parser)->inside_block);

    VERIFY(parser->depth < POLICY_DEPTH_MAX);
    parser->open[parser->depth++] =
        (struct parser_file){.file = file, .block = ANONYMOUS_BLOCK, .inside_block = inside};
    while (text.len > 0 && parser->errors <= ERRORS_SHOWN) {
        parser_at(parser)->line++;
        parser->line = take_line(&text);
        read_line(parser);
    }
    if (parser->statements == before && parser->errors == 0) {
        parser_error(parser, "the file has no rules; a lost or half-written file looks like this, "
                             "so it is refused: to deny everything, write 'pattern deny #'");
    }
    parser->depth--;
}

static void resolve_grants(struct parser *parser)
{
    struct policy *policy = parser->policy;
    char role[POLICY_NAME_MAX + 1];

    for (uint32_t i = 0; i < parser->grant_count; i++) {
        const struct pending_grant *grant = &parser->grants[i];
        uint32_t block = parser_find_block(parser, BLOCK_ROLE, grant->role);
        if (block == TRIE_NONE) {
            text_escape(role, sizeof(role), grant->role);
            parser_error_at(parser, grant->file, grant->line,
                            "there is no role '%s'; write a 'role %s' block with its rules, or "
                            "correct the name",
                            role, role);
            continue;
        }
        policy->grants = memory_grow(policy->grants, &policy->grant_capacity,
                                     policy->grant_count + 1, sizeof(*policy->grants));
        policy->grants[policy->grant_count++] = (struct policy_grant){
            .user = grant->user, .role = block, .file = grant->file, .line = grant->line};
    }
}

static void free_parser(struct parser *parser)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &parser->blocks);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct block_link *link = KEYED_ENTRY(node, struct block_link, node);
        keyed_table_remove(&parser->blocks, node);
        free(link);
    }
    keyed_table_free(&parser->blocks);
    free(parser->grants);
}

struct policy *policy_parse(const char *name, struct slice text,
                            const struct policy_options *options,
                            const struct policy_source *source)
{
    struct parser parser = {.policy = policy_new_empty(options), .source = source};
    struct policy *policy = parser.policy;

    policy->has_rules = true;
    keyed_table_init(&parser.blocks);
    add_block(&parser, BLOCK_ANONYMOUS, slice_of(NULL, 0));
    add_block(&parser, BLOCK_EVERYONE, slice_of(NULL, 0));
    bool too_large = text.len > POLICY_TEXT_MAX;
    uint32_t len = too_large ? 0 : text.len;
    uint32_t file = parser_add_file(&parser, name, memory_copy(text.data, len), len);

    if (too_large) {
        parser_error_at(&parser, file, 0, "the file is larger than %d bytes; split it with include",
                        POLICY_TEXT_MAX);
    } else {
        parser_read_file(&parser, file);
    }
    resolve_grants(&parser);
    free_parser(&parser);
    if (parser.errors > 0) {
        policy_unref(policy);
        return NULL;
    }
    policy_compile(policy);
    return policy;
}

void policy_find_includes(struct slice text, void (*found)(void *context, struct slice name),
                          void *context)
{
    while (text.len > 0) {
        struct slice line = take_line(&text);
        struct slice word = take_word(&line);
        if (slice_is(word, "include") && line.len > 0)
            found(context, line);
    }
}
