"""One stack of compose/, brought up with docker-compose beside the stand-in for cloudflared."""
import base64
import hashlib
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path

from engine import HERE, ROOT, STAND_IN
from lib import mqtt_packets as mqtt
from lib import processes
from lib.broker import free_port
from lib.mqtt_client import Client
from lib.transport import WebSocket

COMPOSE_FILES = {"open": "docker-compose.yml", "protected": "docker-compose.protected.yml",
                 "unix": "docker-compose.unix.yml", "reduced": "docker-compose.reduced.yml"}
# An engine without SYS_RESOURCE cannot give more than it has itself.
FILES = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
ORIGINS = {"unix": "unix:/run/bulkhead-socket/mqtt.sock"}
# Nothing of these may be seen anywhere but where it belongs.
TOKEN_CANARY = "canary-of-the-tunnel-token"
PASSWORDS = {name: f"canary-password-of-{name}"
             for name in ("my_username", "other_username", "third_username")}
PUBLIC_NAME = "mqtt.example.org"


def password_line(user, password):
    """As mosquitto_passwd writes it."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


class Stack:
    """A copy of compose/ with secrets of its own."""

    def __init__(self, engine, variant):
        self.engine = engine
        self.variant = variant
        self.folder = Path(tempfile.mkdtemp(prefix="bulkhead-compose-"))
        self.compose_folder = self.folder / "compose"
        self.port = free_port()
        self.clients = []
        shutil.copytree(ROOT / "compose", self.compose_folder, symlinks=True,
                        ignore=shutil.ignore_patterns("secrets", "data", ".env", "passwords"))
        shutil.copy(HERE / "edge.yml", self.compose_folder)
        self._make_secrets()

    def _make_secrets(self):
        origin = ORIGINS.get(self.variant, "http://mosquitto:9001")
        token = base64.b64encode(json.dumps(
            {"a": TOKEN_CANARY, "s": TOKEN_CANARY, "origin": origin}).encode()).decode()
        self.token = token
        (self.compose_folder / ".env").write_text(f"TUNNEL_TOKEN={token}\n")
        self.engine.run(self.compose_folder / "prepare")
        # As the operator is told: the old stack's line goes.
        (self.compose_folder / ".env").write_text("BULKHEAD_MEMORY=512m\n")
        self.key = (self.compose_folder / "secrets/bulkhead_key").read_bytes()
        lines = "".join(password_line(*pair) for pair in PASSWORDS.items())
        for name in ("protected", "unix"):
            (self.compose_folder / name / "passwords").write_text(lines)
        if self.variant == "reduced":
            os.chown(self.compose_folder / "secrets/bulkhead_key", 51201, 51201)

    # -- life

    def compose(self, *arguments, timeout=120, **options):
        return self.engine.run(
            "docker-compose", "-p", "bulkhead-test", "-f", COMPOSE_FILES[self.variant], "-f", "edge.yml",
            *arguments, cwd=self.compose_folder, timeout=timeout,
            env={"CLOUDFLARED_IMAGE": STAND_IN, "EDGE_PORT": str(self.port),
                 "BULKHEAD_FILES": str(FILES)}, **options)

    def up(self):
        try:
            self.compose("up", "-d", "--no-build")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error
        self.wait_healthy("cloudflared")
        return self

    def restart(self):
        self.close_clients()
        self.compose("restart")
        self.wait_healthy("mosquitto")
        self.wait_healthy("cloudflared")

    def wait_healthy(self, name):
        def healthy():
            state = self.engine.inspect(name)["State"]
            assert state["Running"], f"{name} ended:\n{self.logs()}"
            return state["Health"]["Status"] == "healthy"
        processes.wait_until(healthy, 60, f"{name} to be healthy", step=0.2)

    def down(self):
        self.close_clients()
        self.compose("down", "--volumes", "--timeout", "10", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        return "\n".join(done.stdout + done.stderr for done in
                         (self.engine.docker("logs", name, check=False)
                          for name in ("mosquitto", "cloudflared")))

    def cut(self):
        """Every connection through the tunnel ends at once."""
        self.engine.docker("kill", "--signal", "USR1", "cloudflared")

    # -- inside

    def ctl(self, *arguments):
        return self.engine.docker("exec", "mosquitto", "/usr/bin/bulkheadctl", *arguments).stdout

    def master(self):
        """The master's process id as this machine counts."""
        return self.engine.inspect("mosquitto")["State"]["Pid"]

    def broker_pids(self):
        master = self.master()
        return [master, *processes.children(master)]

    # -- clients

    def client(self, client_id, version=mqtt.V5, path="/mqtt", headers=()):
        transport = WebSocket(("127.0.0.1", self.port), path=path, headers=headers)
        client = Client(transport, version, client_id)
        self.clients.append(client)
        return client

    def connect(self, client_id, user=None, version=mqtt.V5, **fields):
        client = self.client(client_id, version)
        if user:
            fields.update(username=user, password=PASSWORDS[user])
        client.connect(**fields)
        return client

    def close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()
