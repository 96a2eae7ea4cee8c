/* The option table: one row for each directive. */
#ifndef BULKHEAD_MASTER_CONFIG_OPTIONS_H
#define BULKHEAD_MASTER_CONFIG_OPTIONS_H

#include "master/config.h"

#include <stdio.h>

enum option_type {
    OPTION_SECTION,    /* not a directive: a heading of the documentation */
    OPTION_BOOL,       /* bool: true, false, 1, 0 */
    OPTION_NUMBER,     /* int64_t */
    OPTION_OCTAL,      /* int64_t: file mode */
    OPTION_SIZE,       /* int64_t, bytes: a number with k, M or G behind it */
    OPTION_DURATION,   /* int64_t, milliseconds: seconds, or a number with ms, s, m, h or d */
    OPTION_EXPIRATION, /* int64_t, seconds: a number with h, d, w, m (month) or y */
    OPTION_CHOICE,     /* int64_t: the index in `choices` */
    OPTION_SET,        /* int64_t: 1 << index for each of several choices on the line */
    OPTION_TEXT,       /* char * */
    OPTION_LINES,      /* char *: one a line, of all the words given in one or several directives */
    OPTION_SPECIAL,    /* `handle` does it all */
    OPTION_IGNORED,    /* accepted; `help` says why it changes nothing */
    OPTION_REFUSED,    /* known and not supported: `help` says what to do instead */
};

/* What a directive applies to. */
enum option_scope {
    SCOPE_GLOBAL,
    SCOPE_SECURITY,  /* everything; the current listener where per_listener_settings is true */
    SCOPE_LISTENER,  /* the current listener; before the first one, the one that `port` makes */
    SCOPE_INHERITED, /* the current listener; before the first one, the default for all */
};

/* Handles a directive of type OPTION_SPECIAL. */
typedef void option_handler(struct config *config, struct config_place place, char *value);

/* Says whether a text is one that the directive can mean. */
typedef bool word_check(const char *word);

struct option {
    const char *name;
    enum option_type type;
    enum option_scope scope;
    size_t offset;       /* of the field in its structure */
    const char *value;   /* the default as it would be written; NULL: none */
    int64_t min, max;    /* of numbers, in the unit that is stored; max of texts: bytes */
    const char *choices; /* separated by | */
    word_check *check;   /* of texts, and of each word of lines; NULL: any will do */
    const char *wanted;  /* what check accepts, for the message about what it does not */
    option_handler *handle;
    bool own;    /* Bulkhead's: a plain mosquitto.conf does not have it */
    bool live;   /* a reload applies it */
    bool prefix; /* every name that begins so */
    const char *help;
};

extern const struct option config_options[];
extern const size_t config_option_count;

/* The row of a directive; NULL when there is none. */
const struct option *config_option_find(const char *name);

/* The directive that a misspelt name most likely meant; NULL when none is near. */
const char *config_option_nearest(const char *name);

/* Parses value as the row says and stores it at *field. On an error false, with what is wrong
 * in problem. text() copies strings. */
bool config_value_store(struct config *config, const struct option *option, void *field,
                        const char *value, char *problem, size_t problem_size);

/* Stores every default of a scope into a structure. */
void config_defaults(struct config *config, enum option_scope scope, void *base);

/* Writes the table as Markdown. */
void config_options_print(FILE *out);

/* The handlers of the special directives (config_special.c). */
option_handler config_take_listener, config_take_port, config_take_bind_address,
    config_take_include_dir, config_take_per_listener, config_take_log_dest, config_take_log_type,
    config_take_workers;

/* Checks of texts (config_words.c). */
word_check config_is_proxy, config_is_origin, config_is_topic_prefix;

/* Complains of kinds of audit events that there are not. */
void config_check_audit(struct config *config);

#endif
