/* bulkheadd, the master: starts, connects and watches the processes of the broker.
 * Holds the privileges of the start, the configuration, the listening sockets and the descriptors
 * of the files that others parse. Never reads what a client sent, and never waits for a child. */
#include "common/verify.h"
#include "master/audit.h"
#include "master/commands.h"
#include "master/config_options.h"
#include "master/confine.h"
#include "master/key_source.h"
#include "master/log_output.h"
#include "master/log_syslog.h"
#include "master/notify.h"
#include "master/reload.h"
#include "master/stop.h"
#include "master/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct master master;

static const char usage[] =
    "bulkheadd " BULKHEAD_VERSION ", a privilege-separated MQTT broker\n"
    "\n"
    "usage: bulkheadd [-c FILE] [-p PORT] [-v] [-t]\n"
    "  -c FILE       read this configuration; the syntax is mosquitto.conf's\n"
    "  -p PORT       without a listener in the configuration: listen on this port of the\n"
    "                loopback interface (1883 by default)\n"
    "  -t            check the configuration, and that rules and passwords can be opened, and\n"
    "                leave; what the rules say: 'bulkheadctl policy check FILE'\n"
    "  -v            log everything\n"
    "  --directives  print every directive of the configuration, as Markdown\n"
    "  --version     print the version\n"
    "  -h, --help    print this\n"
    "\n"
    "signals: TERM and INT stop, HUP reloads, USR1 opens the log file again\n"
    "exit codes: 0 stopped, 1 could not start, 2 wrong usage, 3 wrong configuration,\n"
    "            4 a process died again and again\n";

struct command_line {
    struct config_arguments arguments;
    bool only_check;
};

static bool parse_port(const char *text, int64_t *port)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);

    *port = number;
    return end != text && *end == '\0' && number >= 1 && number <= UINT16_MAX;
}

/* Returns true to go on; otherwise the process ends with *exit_code. */
static bool parse_arguments(int count, char **words, struct command_line *line, int *exit_code)
{
    int i = 1;

    *exit_code = EXIT_SUCCESS;
    for (; i < count; i++) {
        const char *next = i + 1 < count ? words[i + 1] : NULL;
        if (strcmp(words[i], "-h") == 0 || strcmp(words[i], "--help") == 0) {
            fputs(usage, stdout);
            return false;
        }
        if (strcmp(words[i], "--version") == 0) {
            puts("bulkheadd " BULKHEAD_VERSION);
            return false;
        }
        if (strcmp(words[i], "--directives") == 0) {
            config_options_print(stdout);
            return false;
        }
        if (strcmp(words[i], "-v") == 0) {
            line->arguments.verbose = true;
        } else if (strcmp(words[i], "-t") == 0) {
            line->only_check = true;
        } else if (strcmp(words[i], "-c") == 0 && next != NULL) {
            line->arguments.file = words[++i];
        } else if (strcmp(words[i], "-p") == 0 && next != NULL &&
                   parse_port(next, &line->arguments.port)) {
            i++;
        } else {
            fprintf(stderr, "bulkheadd: wrong argument: %s\n%s", words[i], usage);
            *exit_code = EXIT_USAGE;
            return false;
        }
    }
    return true;
}

/* What there is to say about the configuration waits until the log is where it asks for. */
struct problems {
    struct {
        int level;
        char *text;
    } * list;
    size_t count;
};

static void collect_problem(void *context, int level, const char *text)
{
    struct problems *problems = context;

    problems->list = realloc(problems->list, (problems->count + 1) * sizeof(*problems->list));
    VERIFY(problems->list != NULL);
    problems->list[problems->count].level = level;
    problems->list[problems->count++].text = strdup(text);
}

static void report_problems(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        if (problems->list[i].text != NULL) {
            log_output_write(problems->list[i].level, "bulkheadd", 0,
                             slice_text(problems->list[i].text));
        }
        free(problems->list[i].text);
    }
    free(problems->list);
    *problems = (struct problems){0};
}

static void on_stop_signal(struct ev_loop *loop, ev_signal *watcher, int revents)
{
    (void)loop;
    (void)revents;
    stop_broker(watcher->data, EXIT_SUCCESS);
}

static void on_reopen_signal(struct ev_loop *loop, ev_signal *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents;
    log_output_reopen();
}

static void on_reload_signal(struct ev_loop *loop, ev_signal *watcher, int revents)
{
    (void)loop;
    (void)revents;
    log_output_reopen();
    reload_begin(watcher->data, NULL, NULL);
}

static void watch_signal(struct master *m, ev_signal *watcher, int number,
                         void (*handler)(struct ev_loop *, ev_signal *, int))
{
    ev_signal_init(watcher, handler, number);
    watcher->data = m;
    ev_signal_start(m->loop, watcher);
}

static void watch_signals(struct master *m)
{
    signal(SIGPIPE, SIG_IGN);
    watch_signal(m, &m->on_terminate, SIGTERM, on_stop_signal);
    watch_signal(m, &m->on_interrupt, SIGINT, on_stop_signal);
    watch_signal(m, &m->on_hangup, SIGHUP, on_reload_signal);
    watch_signal(m, &m->on_usr1, SIGUSR1, on_reopen_signal);
}

/* Each client is a descriptor of its worker's, within the limit that workers inherit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Descriptors 0 to 2 must be something, or a socket would take their place. */
static void fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static bool open_listeners(struct master *m)
{
    for (size_t i = 0; i < m->config->listener_count; i++) {
        if (!listen_open(m->config->listeners[i], &m->sockets[i]))
            return false;
    }
    return true;
}

static void describe_start(const struct master *m)
{
    log_notice("Bulkhead " BULKHEAD_VERSION " starting");
    if (m->identities.full) {
        log_notice("sandbox tier: full (persistd runs as user %u, router %u, authd %u, workers %u "
                   "and on)",
                   m->identities.persistd.uid, m->identities.router.uid, m->identities.authd.uid,
                   m->identities.workers[0].uid);
    } else {
        log_notice("sandbox tier: reduced (all processes run as user %u, without chroot)",
                   geteuid());
    }
    if (m->config->local_only)
        log_notice("no listener is configured: serving this machine only%s",
                   m->config->security.allow_anonymous ? ", without passwords" : "");
    if (m->config->persistence && m->config->durability == 1) {
        log_notice("durability relaxed: a crash can lose what was acknowledged in the last %g s",
                   (double)m->config->commit_interval / 1000);
    }
}

static bool write_pid_file(const char *path)
{
    int fd;

    if (path == NULL)
        return true;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool good = fd >= 0 && dprintf(fd, "%d\n", getpid()) > 0;
    if (!good)
        log_error("pid_file %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

/* Everything that can fail for a reason of the operator's, before the first child. */
static int prepare(struct master *m, bool only_check)
{
    struct problems problems = {0};

    log_syslog_prepare();
    m->config = config_load(&m->arguments, collect_problem, &problems);
    bool logging = m->config != NULL && (only_check || log_output_open(m->config));
    report_problems(&problems);
    if (m->config == NULL)
        return EXIT_CONFIG;
    if (!logging || !identities_decide(m->config, &m->identities) ||
        !files_open_policies(m->config, &m->policies))
        return EXIT_START;
    if (only_check) {
        puts("the configuration is good");
        return EXIT_SUCCESS;
    }
    if (!process_find_executables(m))
        return EXIT_START;
    describe_start(m);
    raise_descriptor_limit();
    if (!open_listeners(m) || !commands_open(m) ||
        !files_open_store(m->config, &m->identities, &m->store))
        return EXIT_START;
    return write_pid_file(m->config->pid_file) ? EXIT_SUCCESS : EXIT_START;
}

static void clean_up(struct master *m)
{
    if (m->config == NULL)
        return;
    commands_close(m);
    if (m->config->pid_file != NULL)
        unlink(m->config->pid_file);
    for (size_t i = 0; i < m->config->listener_count; i++)
        listen_close(m->config->listeners[i], &m->sockets[i]);
    files_close(&m->policies);
    files_close(&m->store);
    free(m->processes);
    config_free(m->config);
}

int main(int count, char **words)
{
    struct command_line line = {0};
    int exit_code;

    fill_standard_descriptors();
    key_take_environment();
    umask(077);
    if (!parse_arguments(count, words, &line, &exit_code))
        return exit_code;
    master.arguments = line.arguments;
    exit_code = prepare(&master, line.only_check);
    if (exit_code == EXIT_SUCCESS && !line.only_check) {
        master.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
        watch_signals(&master);
        notify_open();
        master.isolated = confine_master(master.config->sandbox_debug);
        master.started_at = ev_now(master.loop);
        commands_start(&master);
        supervise_start(&master);
        ev_run(master.loop, 0);
        exit_code = master.exit_code;
        log_notice("stopped");
    }
    clean_up(&master);
    return exit_code;
}
