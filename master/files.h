/* Files that children use: opened here, parsed there. */
#ifndef BULKHEAD_MASTER_FILES_H
#define BULKHEAD_MASTER_FILES_H

#include "common/proto_control.h"
#include "master/config.h"
#include "master/identity.h"

#include <sys/stat.h>

struct opened_file {
    enum file_kind kind;
    unsigned listener; /* whose it is; LISTENERS_MAX: every listener's */
    char *name;        /* as configured */
    int fd;
};

struct file_set {
    struct opened_file *files;
    size_t count;
};

/* Opens what the router and authd parse: access rules, passwords, token keys. They are copies that
 * do not change any more: a replacement of a process gets what the last reload accepted. False,
 * with the reasons logged, when one is missing, empty or cannot be read. */
bool files_open_policies(const struct config *config, struct file_set *set);

/* Whether no file of `now` has lost the end of its last line, which it had in `before`: what was
 * written by half looks like that. False with the reason logged. */
bool files_are_whole(const struct file_set *before, const struct file_set *now);

/* Opens what persistd uses: the data directory, which it takes over when it is new, and the key. */
bool files_open_store(const struct config *config, const struct identities *ids,
                      struct file_set *set);

/* Opens the key or passphrase file by its name again, for a new persistd: the key may have been
 * wrapped anew since. Where it cannot be opened, what was open stays. */
void files_refresh_key(struct file_set *set);

void files_close(struct file_set *set);

/* The role that gets files of a kind. */
enum role files_role(enum file_kind kind);

/* Opens a file for reading, as its owner where modes keep root out; *status is what fstat says. -1
 * with errno when that fails. */
int files_open(const char *path, int flags, struct stat *status);

/* Opens the files that an access file includes, and those that they include, named from its
 * folder. The master looks for the names only; what the rules mean is the router's to read. */
bool files_open_includes(struct file_set *set, unsigned listener, const char *acl_path, int acl_fd);

/* Opens a file and adds a copy of it that does not change any more. what is its directive, for
 * messages; path where it is; name how it is called to the child. Returns the copy, which the set
 * owns, or -1 with the reason logged. */
int files_open_policy(struct file_set *set, enum file_kind kind, unsigned listener,
                      const char *what, const char *path, const char *name);

/* Adds an open file for every listener, which the set owns from now on. */
void files_add(struct file_set *set, enum file_kind kind, const char *name, int fd);

#endif
