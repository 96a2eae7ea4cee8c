/* bulkheadctl passwd: the users of a password file. The password comes from the terminal, or as one
 * line on standard input; never from an argument, which every user of the machine can see. */
#include "ctl/ctl.h"

#include "common/password.h"
#include "policy/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 1024, NAME_BYTES_MAX = 1024, PATH_BYTES_MAX = 4096 };

/* Reads a line without echo when it comes from a terminal. False at the end of input, and when the
 * line is empty or too long: half a password would be another one. */
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
    if (got && strlen(line) == size - 1 && line[size - 2] != '\n')
        return false;
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
        ctl_fail("no password of 1 to %d bytes was given; type it, or pass it as one line on "
                 "standard input",
                 PASSWORD_MAX - 2);
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
    if (strlen(user) <= NAME_BYTES_MAX && strchr(user, ':') == NULL && user[0] != '#' &&
        policy_name_is_safe(slice_text(user)))
        return true;
    ctl_fail("a user name is UTF-8 text of 1 to %d bytes, has none of : + # / and no control "
             "characters, and does not begin with $",
             NAME_BYTES_MAX);
    return false;
}

/* True when line is the user's entry. */
static bool is_entry(const char *line, const char *user)
{
    size_t len = strlen(user);
    return strncmp(line, user, len) == 0 && line[len] == ':';
}

/* What goes into the new file: the old lines but the user's own, and its new one if it has one. */
static bool copy_lines(FILE *old, FILE *new, const char *user, const char *stored, bool *found)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool any = stored != NULL;

    *found = false;
    while (old != NULL && (len = getline(&line, &room, old)) > 0) {
        if (is_entry(line, user)) {
            *found = true;
            continue;
        }
        fwrite(line, 1, (size_t)len, new);
        if (line[len - 1] != '\n')
            fputc('\n', new);
        any |= line[strspn(line, "\r\n")] != '\0';
    }
    free(line);
    if (stored != NULL)
        fprintf(new, "%s:%s\n", user, stored);
    if (!any) /* to the broker an empty file looks like a lost one */
        fputs("# no users\n", new);
    return old == NULL || !ferror(old);
}

/* Writes the new file beside the old one, with its owner, and at most its permissions. */
static bool write_beside(FILE *old, int fd, const char *user, const char *stored, bool *found)
{
    struct stat status = {.st_mode = 0600};
    FILE *new = fdopen(fd, "w");

    if (new == NULL) {
        close(fd);
        return false;
    }
    bool good = old == NULL || fstat(fileno(old), &status) == 0;
    good = good && copy_lines(old, new, user, stored, found);
    /* The owner first: with it, modes may change. Never readable by others. */
    good = good && (old == NULL || fchown(fd, status.st_uid, status.st_gid) == 0) &&
           fchmod(fd, status.st_mode & 0640) == 0 && fflush(new) == 0 && fsync(fd) == 0;
    return fclose(new) == 0 && good;
}

/* Puts a new file in the place of the old one. stored NULL deletes the user. found says whether the
 * user was there. directory is locked: of two that do this at once, one waits. */
static bool rewrite(const char *path, int directory, const char *user, const char *stored,
                    bool *found)
{
    char beside[PATH_BYTES_MAX + 8];

    FILE *old = fopen(path, "re");
    if (old == NULL && errno != ENOENT)
        return false;
    snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    bool good = fd >= 0 && write_beside(old, fd, user, stored, found);
    if (old != NULL)
        fclose(old);
    if (fd < 0)
        return false;
    if (good && (stored != NULL || *found)) {
        good = rename(beside, path) == 0 && fsync(directory) == 0;
    } else {
        int error = errno;
        unlink(beside);
        errno = error;
    }
    return good;
}

/* The file itself, where path is a link to it. */
static bool resolve(const char *path, char real[PATH_BYTES_MAX])
{
    char *found = realpath(path, NULL);
    bool fits = strlen(found != NULL ? found : path) < PATH_BYTES_MAX;

    if (found == NULL && errno != ENOENT)
        return false;
    snprintf(real, PATH_BYTES_MAX, "%s", found != NULL ? found : path);
    free(found);
    errno = ENAMETOOLONG;
    return fits;
}

/* Opens the folder that the file is in, and locks it. */
static int lock_folder(const char *real)
{
    char folder[PATH_BYTES_MAX];
    const char *slash = strrchr(real, '/');

    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - real) + 1, real);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Changes one user's entry; see rewrite(). */
static bool change(const char *path, const char *user, const char *stored, bool *found)
{
    char real[PATH_BYTES_MAX];

    *found = false;
    if (!resolve(path, real))
        return false;
    int directory = lock_folder(real);
    bool good = directory >= 0 && rewrite(real, directory, user, stored, found);
    int error = errno;
    if (directory >= 0)
        close(directory);
    errno = error;
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
    if (!change(path, user, stored, &found))
        return ctl_fail("%s cannot be written: %s", path, strerror(errno));
    printf("%s %s; 'bulkheadctl reload' makes a running broker take it\n", user,
           found ? "has a new password" : "was added");
    return CTL_GOOD;
}

static int delete_user(const char *path, const char *user)
{
    bool found;

    if (!change(path, user, NULL, &found))
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
