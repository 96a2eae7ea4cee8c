"""Users with passwords, access rules, and the reload of both, for tests of protected brokers."""
import base64
import hashlib
import json

from . import processes

PROTECTED_CONFIG = """\
persistence true
persistence_location {dir}/data/
key_file {dir}/bulkhead.key
control_socket {dir}/control.sock
password_file {dir}/passwords
{options}
listener {tcp} 127.0.0.1
{listener_options}
listener {ws} 127.0.0.1
protocol websockets
trusted_proxies 192.0.2.1
{listener_options}
"""


def entry(user, password=None, salt=b"a salt of a test"):
    """A line of a password file in mosquitto's form, with a hash that costs nothing. The password
    is the user's name unless said otherwise."""
    secret = (user if password is None else password).encode()
    made = hashlib.pbkdf2_hmac("sha512", secret, salt, 1)
    return f"{user}:$7$1${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}\n"


def passwords(*users):
    return "".join(entry(user) for user in users)


def audit_records(broker):
    """What the audit log holds by now. A line that is being written is not read yet."""
    text = (broker.data / "audit/audit.log").read_text()
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


class Protected:
    """A broker with users, and rules if there are any; every password is its user's name."""

    def __init__(self, new_broker, users, rules=None, options="", **more):
        if rules is not None:
            options += "\nacl_file {dir}/rules"
        if "sys_interval" not in options:
            options += "\nsys_interval 0"  # so that what is retained is the users'
        self.broker = new_broker(started=False, config=PROTECTED_CONFIG, options=options, **more)
        self.rules = self.broker.folder / "rules"
        self.users = self.broker.folder / "passwords"
        self.users.write_text(passwords(*users))
        if rules is not None:
            self.rules.write_text(rules)
        self.mark = 0
        self.reloads = 0  # each is a record of the audit log, sooner or later
        self.broker.start()

    def connect(self, user, client_id=None, **fields):
        return self.broker.connect(client_id or user, username=user, password=user, **fields)

    def control(self, *words, check=True):
        self.reloads += words[0] == "reload"
        return self.broker.ctl("-s", self.broker.control_socket, *words, check=check)

    def reload(self, *, rules=None, users=None):
        """New files, in force when this returns."""
        if rules is not None:
            self.rules.write_text(rules)
        if users is not None:
            self.users.write_text(passwords(*users) or "# none\n")
        self.control("reload")

    def purge(self, users, rules):
        """As if nothing had been: every user is deleted, and with it all that it had."""
        self.mark = 0
        self.reload(users=())
        for client in self.broker.clients:
            client.close()
        self.broker.clients.clear()
        kinds = ("connected", "sessions", "retained", "queued")
        processes.wait_until(lambda: not any(map(self.counters().get, kinds)), 10,
                             "everyone to be gone, with all that they had")
        self.reload(users=users, rules=rules)
        processes.wait_until(lambda: len(self.audited("reload")) == self.reloads, 10,
                             "the reloads to be on record")
        self.mark = self.audited("reload")[-1]["sequence"]

    def counters(self):
        """What the router says of itself."""
        return json.loads(self.control("statistics").stdout)

    def audited(self, event=None, **members):
        """The audit log's records since the last purge, of that kind and with these members."""
        return [record for record in audit_records(self.broker)
                if record["sequence"] > self.mark and event in (None, record["event"]) and
                all(record.get(name) == value for name, value in members.items())]

    def wait_audited(self, event, timeout=15, count=1, **members):
        """At least `count` of them: what happened is on record a little after its answer."""
        processes.wait_until(lambda: len(self.audited(event, **members)) >= count, timeout,
                             f"{count} audit records {event} {members}")
        return self.audited(event, **members)
