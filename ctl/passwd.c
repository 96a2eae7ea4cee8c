/* bulkheadctl passwd: the users of a password file. The password comes from the terminal, or as one
 * line on standard input; never from an argument, which every user of the machine can see. */
#include "ctl/ctl.h"

#include "common/password.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 1024 };

/* Reads a line without echo when it comes from a terminal. False at the end of input. */
static bool read_line(const char *prompt, char *line, size_t size)
{
    struct termios before;
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;

    if (terminal) {
        struct termios silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        fputs(prompt, stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    bool got = fgets(line, (int)size, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (got)
        line[strcspn(line, "\r\n")] = '\0';
    return got && line[0] != '\0';
}

/* The password, asked for twice when a person types it. */
static bool read_password(char *password, size_t size, bool confirm)
{
    char again[PASSWORD_MAX];
    bool same = true;

    if (!read_line("Password: ", password, size)) {
        ctl_fail("no password was given; type it, or pass it as one line on standard input");
        return false;
    }
    if (confirm && isatty(STDIN_FILENO)) {
        same = read_line("Password again: ", again, sizeof(again)) && strcmp(password, again) == 0;
        sodium_memzero(again, sizeof(again));
        if (!same)
            ctl_fail("the two are not the same; nothing was changed");
    }
    return same;
}

static bool name_is_good(const char *user)
{
    if (user[0] != '\0' && strlen(user) <= 1024 && strpbrk(user, ":+#/\r\n") == NULL &&
        user[0] != '$')
        return true;
    ctl_fail("a user name is not empty, has none of : + # / and does not begin with $");
    return false;
}

/* True when line is the user's entry. */
static bool is_entry(const char *line, const char *user)
{
    size_t len = strlen(user);
    return strncmp(line, user, len) == 0 && line[len] == ':';
}

/* Writes the new file beside the old one and puts it in its place. stored NULL deletes the user.
 * found says whether the user was there. */
static bool rewrite(const char *path, const char *user, const char *stored, bool *found)
{
    char beside[4096];
    char *line = NULL;
    size_t room = 0;
    struct stat status = {.st_mode = 0600};

    *found = false;
    FILE *old = fopen(path, "re");
    if (old == NULL && errno != ENOENT)
        return false;
    if (old != NULL && fstat(fileno(old), &status) != 0) {
        fclose(old);
        return false;
    }
    snprintf(beside, sizeof(beside), "%.4000s.XXXXXX", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    FILE *new = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (new == NULL) {
        if (old != NULL)
            fclose(old);
        return false;
    }
    while (old != NULL && getline(&line, &room, old) > 0) {
        if (!is_entry(line, user)) {
            fputs(line, new);
        } else {
            *found = true;
        }
    }
    free(line);
    if (stored != NULL)
        fprintf(new, "%s:%s\n", user, stored);
    /* As private as it was, and never readable by others. */
    bool good = fchmod(fd, status.st_mode & 0640) == 0 && fflush(new) == 0 && fsync(fd) == 0 &&
                (old == NULL || fchown(fd, status.st_uid, status.st_gid) == 0);
    good = fclose(new) == 0 && good;
    if (old != NULL)
        fclose(old);
    if (good && (stored != NULL || *found)) {
        good = rename(beside, path) == 0;
    } else {
        unlink(beside);
    }
    return good;
}

static int add(const char *path, const char *user)
{
    char password[PASSWORD_MAX];
    char stored[crypto_pwhash_STRBYTES];
    bool found;

    if (!name_is_good(user) || !read_password(password, sizeof(password), true))
        return CTL_FAILED;
    int bad =
        crypto_pwhash_str(stored, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE);
    sodium_memzero(password, sizeof(password));
    if (bad != 0)
        return ctl_fail("there is not enough memory to hash the password");
    if (!rewrite(path, user, stored, &found))
        return ctl_fail("%s cannot be written: %s", path, strerror(errno));
    printf("%s %s; 'bulkheadctl reload' makes a running broker take it\n", user,
           found ? "has a new password" : "was added");
    return CTL_GOOD;
}

static int delete_user(const char *path, const char *user)
{
    bool found;

    if (!rewrite(path, user, NULL, &found))
        return ctl_fail("%s cannot be written: %s", path, strerror(errno));
    if (!found)
        return ctl_fail("%s has no user %s", path, user);
    printf("%s was removed; 'bulkheadctl reload' ends its connections\n", user);
    return CTL_GOOD;
}

/* Copies the stored password of user; false when there is none. */
static bool find_stored(const char *path, const char *user, char *stored, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen(path, "re");

    while (file != NULL && !found && getline(&line, &room, file) > 0) {
        found = is_entry(line, user);
        if (found) {
            line[strcspn(line, "\r\n")] = '\0';
            snprintf(stored, size, "%s", line + strlen(user) + 1);
        }
    }
    if (file == NULL) {
        ctl_fail("%s cannot be read: %s", path, strerror(errno));
    } else {
        fclose(file);
    }
    free(line);
    if (file != NULL && !found)
        ctl_fail("%s has no user %s", path, user);
    return found;
}

static int verify(const char *path, const char *user)
{
    char password[PASSWORD_MAX];
    char stored[STORED_MAX];

    if (!find_stored(path, user, stored, sizeof(stored)) ||
        !read_password(password, sizeof(password), false))
        return CTL_FAILED;
    bool right = password_verify(stored, slice_text(password));
    sodium_memzero(password, sizeof(password));
    if (!right)
        return ctl_fail("this is not the password of %s", user);
    printf("this is the password of %s\n", user);
    return CTL_GOOD;
}

static int run_passwd(const struct ctl *ctl, int count, char **words)
{
    (void)ctl;
    if (count != 3)
        return CTL_USAGE;
    password_prepare();
    if (strcmp(words[0], "add") == 0)
        return add(words[1], words[2]);
    if (strcmp(words[0], "delete") == 0)
        return delete_user(words[1], words[2]);
    if (strcmp(words[0], "verify") == 0)
        return verify(words[1], words[2]);
    return CTL_USAGE;
}

const struct subcommand passwd_command = {
    .name = "passwd",
    .usage = "passwd add FILE USER\npasswd delete FILE USER\npasswd verify FILE USER",
    .summary = "Set, remove or try a user's password; it is typed, or one line on standard input.",
    .run = run_passwd,
};
