/* The audit log: every change to it after the fact is found, and where. */
#include "persistd/audit.h"
#include "persistd/audit_scan.h"

#include "common/audit_check.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 60 };

static char directory[] = "/tmp/bulkhead-audit-XXXXXX";
static struct keyring *keyring;
static struct audit_log audit;

static void begin(void)
{
    static uint8_t key[KEY_SIZE];
    struct key_source source = {.key = slice_of(key, sizeof(key))};

    cr_assert(sodium_init() >= 0);
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    cr_assert_eq(keyring_open(&source, true, &keyring), KEYRING_CREATED);
    cr_assert(audit_open(&audit, keyring, 0, 3));
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(audit, .init = begin, .fini = end, .timeout = 60);

static void write_events(int count)
{
    for (int i = 0; i < count; i++)
        cr_assert(audit_write(&audit, slice_text("{\"event\":\"connect\",\"user\":\"ann\"}")));
}

/* Gives count events to the log at once; returns how many it wrote. */
static size_t write_batch(size_t count)
{
    char events[BATCH * 64] = "";
    size_t len = 0;

    cr_assert_leq(count, BATCH);
    for (size_t i = 0; i < count; i++)
        len +=
            (size_t)sprintf(events + len, "{\"event\":\"connected\",\"listener\":%zu}\n", 10 + i);
    return count - slice_lines(audit_write_lines(&audit, slice_of(events, len)));
}

static struct audit_check check_file(const char *path, bool with_chain)
{
    const struct audit_keys keys = {.public_key = audit.public_key,
                                    .chain_key = with_chain ? audit.chain_key : NULL};
    struct audit_check check;
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    audit_check_file(file, UINT64_MAX, &keys, &check);
    fclose(file);
    return check;
}

/* Runs a shell command on the log file, $f. */
static void edit(const char *command)
{
    char line[512];
    snprintf(line, sizeof(line), "f=%s; %s", AUDIT_FILE, command);
    cr_assert_eq(system(line), 0);
}

static void reopen(void)
{
    audit_close(&audit);
    cr_assert(audit_open(&audit, keyring, 0, 3));
}

Test(audit, an_untouched_log_holds)
{
    write_events(5);
    cr_assert(audit_sign(&audit));
    write_events(5);
    reopen();
    write_events(2);
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 0, "line %lu: %s", (unsigned long)check.line, check.problem);
    cr_assert_eq(check.signatures, 2);
    cr_assert_eq(check.records, 1 + 12 + 2);
}

Test(audit, a_changed_byte_is_found_in_its_line)
{
    write_events(5);
    edit("sed -i '3s/ann/bob/' $f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 3);
}

Test(audit, the_signatures_alone_find_it_too)
{
    write_events(5);
    cr_assert(audit_sign(&audit));
    write_events(5);
    cr_assert(audit_sign(&audit));
    cr_assert_eq(check_file(AUDIT_FILE, false).line, 0);
    edit("sed -i '9s/ann/bob/' $f");
    struct audit_check check = check_file(AUDIT_FILE, false);
    cr_assert_eq(check.line, 13);
    cr_assert_eq(check.signature_line, 7);
    cr_assert(strstr(check.problem, "lines 7 to 12, before this signature") != NULL);
}

Test(audit, what_is_signed_is_told_from_what_is_not)
{
    write_events(5);
    cr_assert_eq(check_file(AUDIT_FILE, false).signature_line, 0);
    cr_assert(audit_sign(&audit));
    write_events(2);
    edit("sed -i '9s/ann/bob/' $f");
    struct audit_check check = check_file(AUDIT_FILE, false);
    cr_assert_eq(check.line, 0, "nobody without the chain's key can see it");
    cr_assert_eq(check.signature_line, 7);
    cr_assert_eq(check.records, 9);
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 9);
}

Test(audit, a_file_of_another_key_is_told)
{
    audit.public_key[0] ^= 1;
    cr_assert_eq(check_file(AUDIT_FILE, false).line, 1);
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 1);
}

Test(audit, a_line_is_read_no_further_than_a_record_goes)
{
    edit("head -c 1000000 /dev/zero | tr '\\0' x >>$f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 2);
    edit(": >$f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 1);
}

Test(audit, a_removed_line_is_found)
{
    write_events(5);
    edit("sed -i 4d $f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 4);
}

Test(audit, swapped_lines_are_found)
{
    write_events(5);
    edit("sed -i '3{h;d};4{G}' $f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 3);
}

Test(audit, a_cut_off_end_is_noticed_at_the_next_start)
{
    write_events(5);
    audit_close(&audit);
    edit("sed -i '$d' $f; sed -i '$d' $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("grep -q 'audit_damaged.*cut off' $f");
    cr_assert_neq(check_file(AUDIT_FILE, true).line, 0);
}

/* As if the process had been killed. */
static void crash(void)
{
    audit.signed_sequence = audit.sequence;
    audit_close(&audit);
}

Test(audit, half_a_record_after_a_crash_is_taken_back)
{
    write_events(2);
    crash();
    edit("printf '{\"event\":\"conn' >>$f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("tail -n 1 $f | grep -q 'audit_damaged.*half written'");
    cr_assert(audit_sign(&audit));
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 0, "line %lu: %s", (unsigned long)check.line, check.problem);
    cr_assert_eq(check.records, 1 + 2 + 1 + 1);
    cr_assert_eq(check_file(AUDIT_FILE, false).line, 0);
}

Test(audit, what_was_not_signed_before_a_crash_is_signed_after_it)
{
    write_events(2);
    crash();
    cr_assert(audit_open(&audit, keyring, 0, 3));
    cr_assert(audit_sign(&audit));
    cr_assert_eq(check_file(AUDIT_FILE, true).signature_line, 4);
    reopen();
    cr_assert_eq(check_file(AUDIT_FILE, true).records, 4, "nothing is new");
}

Test(audit, what_was_altered_after_a_crash_is_not_signed_in_silence)
{
    write_events(2);
    cr_assert(audit_sign(&audit));
    write_events(2);
    crash();
    edit("sed -i '5s/ann/bob/' $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("tail -n 1 $f | grep -q 'audit_damaged.*altered'");
    reopen();
    reopen();
    edit("test $(grep -c audit_damaged $f) = 1");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 5);
    cr_assert_eq(check_file(AUDIT_FILE, false).line, 7, "told to who cannot check the chain");
}

Test(audit, rotation_keeps_the_chain_over_files)
{
    audit.max_bytes = 2000;
    write_events(60);
    audit_close(&audit);
    for (int i = 0; i <= 3; i++) {
        char path[64];
        snprintf(path, sizeof(path), i > 0 ? AUDIT_FILE ".%d" : AUDIT_FILE, i);
        struct audit_check check = check_file(path, true);
        cr_assert_eq(check.line, 0, "%s:%lu: %s", path, (unsigned long)check.line, check.problem);
    }
    cr_assert_neq(access(AUDIT_FILE ".4", F_OK), 0);
}

Test(audit, an_event_stays_one_line)
{
    cr_assert(audit_write(&audit, slice_text("{\"user\":\"a\\nb\\u202e\\u001b[31m\"}")));
    cr_assert(audit_write(&audit, slice_text("not json")));
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 2, "a record without an event does not hold");
    edit("test $(wc -l <$f) = 3");
    edit("! LC_ALL=C grep -q '[^ -~]' $f");
}

Test(audit, a_failing_log_says_what_was_lost)
{
    write_events(1);
    int full = open("/dev/full", O_WRONLY);
    int good = dup(audit.fd);
    cr_assert(full >= 0 && dup2(full, audit.fd) >= 0);
    cr_assert_not(audit_write(&audit, slice_text("{\"event\":\"x\"}")));
    cr_assert_not(audit_write(&audit, slice_text("{\"event\":\"x\"}")));
    cr_assert(audit.failing);
    cr_assert(dup2(good, audit.fd) >= 0);
    write_events(1);
    cr_assert_not(audit.failing);
    edit("grep -q 'audit_records_lost.*\"count\":2\\|\"count\":2.*audit_records_lost' $f");
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 0);
}

static void count_copy(void *context, struct slice line)
{
    size_t *copies = context;

    *copies += line.len > 0 && line.data[line.len - 1] == '}';
}

Test(audit, a_batch_is_many_records_in_their_order)
{
    size_t copies = 0;

    audit.written = count_copy;
    audit.context = &copies;
    cr_assert_eq(write_batch(BATCH), BATCH);
    cr_assert_eq(write_batch(0), 0);
    cr_assert_eq(copies, BATCH);
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 0, "line %lu: %s", (unsigned long)check.line, check.problem);
    cr_assert_eq(check.records, 1 + BATCH);
    edit("grep -o '\"listener\":[0-9]*' $f | cut -d: -f2 >order; seq 10 69 | cmp - order");
}

/* The file may grow by that much only. */
static void limit_file(uint64_t more)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = more == UINT64_MAX ? limit.rlim_max : audit.bytes + more;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(audit, a_batch_that_does_not_fit_is_taken_back)
{
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    write_events(2);
    uint64_t bytes = audit.bytes;
    limit_file(1000); /* some of its records, and a part of one */
    cr_assert_eq(write_batch(BATCH), 0);
    cr_assert(audit.failing);
    cr_assert_eq(audit.bytes, bytes);
    cr_assert_eq(check_file(AUDIT_FILE, true).records, 1 + 2);
    limit_file(UINT64_MAX);
    cr_assert_eq(write_batch(5), 5);
    cr_assert_not(audit.failing);
    cr_assert(audit_sign(&audit));
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 0, "line %lu: %s", (unsigned long)check.line, check.problem);
    cr_assert_eq(check.records, 1 + 2 + 5 + 1 + 1);
    edit("grep -q '\"count\":60.*audit_records_lost\\|audit_records_lost.*\"count\":60' $f");
}

Test(audit, a_file_begins_as_it_should_when_it_could_not_at_first)
{
    cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    audit.max_bytes = 1000;
    write_events(3);
    audit.bytes = 0;
    limit_file(100); /* no record fits into a file */
    audit.bytes = 1000;
    cr_assert_eq(write_batch(1), 0);
    cr_assert_not(audit_sign(&audit));
    limit_file(UINT64_MAX);
    audit.max_bytes = 0;
    cr_assert_eq(write_batch(1), 1);
    struct audit_check check = check_file(AUDIT_FILE, true);
    cr_assert_eq(check.line, 0, "line %lu: %s", (unsigned long)check.line, check.problem);
    cr_assert_eq(access(AUDIT_FILE ".1", F_OK), 0);
}

/* The sizes of the files so far, the newest one last. */
static void note_sizes(const char *where)
{
    char command[128];

    snprintf(command, sizeof(command),
             "ls -v -r audit | grep log | sed 's|^|audit/|' | "
             "xargs stat -c %%s >%s",
             where);
    cr_assert_eq(system(command), 0);
}

Test(audit, a_batch_fills_files_as_its_records_would_alone)
{
    audit.max_bytes = 2000;
    audit.keep = 100;
    for (int i = 0; i < BATCH; i++)
        cr_assert_eq(write_batch(1), 1);
    note_sizes("alone");
    audit_close(&audit);
    edit("rm -r audit");
    cr_assert(audit_open(&audit, keyring, 2000, 100));
    cr_assert_eq(write_batch(BATCH), BATCH);
    note_sizes("together");
    edit("test $(wc -l <alone) -gt 5 && cmp alone together");
    edit("for f in audit/*.log*; do tail -n 1 $f | grep -q audit_signature || echo; done >open; "
         "test $(wc -l <open) = 1"); /* the newest */
    cr_assert_eq(check_file(AUDIT_FILE ".1", true).line, 0);
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 0);
}

static void holds(const char *path)
{
    struct audit_check check = check_file(path, true);
    cr_assert_eq(check.line, 0, "%s:%lu: %s", path, (unsigned long)check.line, check.problem);
}

/* A crash after a full file was moved, the next one is what the command leaves of it. */
static void crash_in_rotation(const char *command)
{
    crash();
    edit("rm -f $f.1; mv $f $f.1");
    edit(command);
    cr_assert(audit_open(&audit, keyring, 0, 3));
    holds(AUDIT_FILE ".1");
    holds(AUDIT_FILE);
    struct audit_check older = check_file(AUDIT_FILE ".1", true);
    struct audit_check newer = check_file(AUDIT_FILE, true);
    cr_assert(audit_check_joins(&older, &newer));
}

Test(audit, a_crash_in_a_rotation_is_no_damage)
{
    write_events(3);
    cr_assert(audit_sign(&audit));
    crash_in_rotation(":");
    edit("! grep -q audit_damaged $f");
    crash_in_rotation(": >$f"); /* nor when it could not be signed before */
    edit("! grep -q audit_damaged $f");
    crash_in_rotation("printf '{\"event' >$f");
    edit("grep -q 'audit_damaged.*half written' $f");
    cr_assert(audit_sign(&audit));
    cr_assert_eq(check_file(AUDIT_FILE, false).line, 0);
}

Test(audit, damage_is_found_in_the_file_that_was_moved)
{
    write_events(3);
    cr_assert(audit_sign(&audit));
    crash();
    edit("sed '$d' $f >$f.1; rm $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("grep -q 'audit_damaged.*cut off' $f");
    cr_assert(audit_sign(&audit));
    write_events(1);
    crash();
    edit("sed '$s/ann/bob/' $f >$f.1; rm $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("grep -q 'audit_damaged.*altered' $f");
}

Test(audit, a_crash_in_a_rotation_drops_no_file)
{
    audit.max_bytes = 2000;
    write_events(60);
    crash();
    edit("mv $f.2 $f.3; mv $f.1 $f.2; cat $f.2 $f.3 >kept"); /* the full one is still to be moved */
    cr_assert(audit_open(&audit, keyring, 1, 3));
    write_events(1);
    edit("cat $f.2 $f.3 | cmp - kept && test -e $f.1");
}

Test(audit, a_removed_log_is_noticed_although_the_next_one_holds)
{
    write_events(3);
    audit_close(&audit);
    edit("rm $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    cr_assert_eq(check_file(AUDIT_FILE, true).line, 2);
}

Test(audit, a_log_that_was_made_up_is_noticed_at_the_next_start)
{
    write_events(3);
    audit_close(&audit);
    edit("sed -i '2,$d; s/\"sequence\":1/\"sequence\":9/' $f");
    cr_assert(audit_open(&audit, keyring, 0, 3));
    edit("tail -n 1 $f | grep -q 'audit_damaged.*altered'");
}

Test(audit, a_file_that_became_full_during_a_check_is_moved_at_its_end)
{
    audit.max_bytes = 1000;
    audit_hold(&audit);
    write_events(20);
    cr_assert_neq(access(AUDIT_FILE ".1", F_OK), 0);
    audit_release(&audit);
    cr_assert_eq(access(AUDIT_FILE ".1", F_OK), 0);
    holds(AUDIT_FILE ".1");
    holds(AUDIT_FILE);
}

Test(audit, none_is_begun_during_a_check)
{
    audit.max_bytes = 1000;
    write_events(1);
    close(audit.fd);
    audit.fd = -1; /* as when a file could not be moved */
    audit_hold(&audit);
    cr_assert_eq(write_batch(2), 0);
    audit_release(&audit);
    cr_assert_eq(write_batch(2), 2);
    edit("grep -q '\"count\":2.*audit_records_lost\\|audit_records_lost.*\"count\":2' $f");
    holds(AUDIT_FILE);
}

static bool scans(const char *event)
{
    struct slice name;

    return audit_scan(slice_text(event), &name) && slice_is(name, "x");
}

Test(audit, a_flat_event_needs_no_parser)
{
    cr_expect(scans("{\"event\":\"x\"}"));
    cr_expect(scans("{\"user\":null,\"event\":\"x\",\"client_id\":\"{a}, /b ~\",\"empty\":\"\"}"));
    cr_expect(
        scans("{\"event\":\"x\",\"a\":true,\"b\":false,\"count\":0,\"c\":123456789012345678}"));
}

Test(audit, anything_else_is_left_to_the_parser)
{
    static const char *const events[] = {
        "", "{", "{}", "{\"event\":\"x\"", "{\"event\":\"x\"}}", "{\"event\":\"x\"} ",
        "{\"event\":\"x\",}", "{\"event\":\"x\"\"a\":1}", "{\"event\":\"x\",\"a\"}",
        "{\"event\": \"x\"}", "[\"event\",\"x\"]", "{\"event\":1}", "{\"event\":\"\"}",
        "{\"user\":\"x\"}",
        /* names twice, and names that are not the event's to give */
        "{\"event\":\"x\",\"event\":\"x\"}", "{\"a\":1,\"event\":\"x\",\"a\":1}",
        "{\"event\":\"x\",\"process\":\"router\"}", "{\"event\":\"x\",\"pid\":1}",
        "{\"event\":\"x\",\"time\":\"\"}", "{\"sequence\":1,\"event\":\"x\"}",
        "{\"event\":\"x\",\"chain\":\"\"}",
        /* strings */
        "{\"event\":\"x\",\"a\":\"\\\"\"}", "{\"event\":\"x\",\"a\":\"\\u0061\"}",
        "{\"event\":\"x\",\"a\":\"\n\"}", "{\"event\":\"x\",\"a\":\"\x7f\"}",
        "{\"event\":\"x\",\"a\":\"\xc3\xa4\"}", "{\"event\":\"x\",\"a\":\"b}",
        "{\"\\u0065vent\":\"x\",\"event\":\"x\"}",
        /* numbers and other values */
        "{\"event\":\"x\",\"a\":01}", "{\"event\":\"x\",\"a\":-1}", "{\"event\":\"x\",\"a\":1.5}",
        "{\"event\":\"x\",\"a\":1e3}", "{\"event\":\"x\",\"a\":1234567890123456789}",
        "{\"event\":\"x\",\"a\":}", "{\"event\":\"x\",\"a\":truest}", "{\"event\":\"x\",\"a\":{}}",
        "{\"event\":\"x\",\"a\":[1]}"};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        cr_expect_not(scans(events[i]), "%s", events[i]);
}

Test(audit, more_members_than_any_event_has_are_left_to_the_parser)
{
    char event[512] = "{\"event\":\"x\"";

    for (const char *name = "abcdefghijklmno"; *name != '\0'; name++) {
        size_t len = strlen(event);
        snprintf(event + len, sizeof(event) - len, ",\"%c\":1}", *name);
        cr_expect(scans(event), "%s", event);
        event[strlen(event) - 1] = '\0';
    }
    strcat(event, ",\"z\":1}");
    cr_expect_not(scans(event));
}
