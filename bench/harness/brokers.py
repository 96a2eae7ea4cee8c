"""Starts and stops the brokers that are compared, each in a folder and on ports of its own, each
with the configuration that its own users would begin with."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
LOADGEN = BUILD / "bench/bulkhead-loadgen"
START_SECONDS = 60
STOP_SECONDS = 60

MOSQUITTO = """\
listener {tcp} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
allow_anonymous true
max_queued_messages 0
persistence_location {folder}/data/
log_type error
log_dest stderr
{options}
"""

NATS = """\
server_name: bench
listen: "127.0.0.1:{extra}"
jetstream {{ store_dir: "{folder}/data" }}
mqtt {{ listen: "127.0.0.1:{tcp}" }}
websocket {{ listen: "127.0.0.1:{ws}", no_tls: true }}
"""

BULKHEAD = """\
allow_anonymous true
max_queued_messages 0
persistence_location {folder}/data/
key_file {folder}/bulkhead.key
control_socket {folder}/control.sock
log_type error
{options}
listener {tcp} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
"""


def free_ports(count):
    """Ports below the range from which the kernel takes those of outgoing connections."""
    found, candidate = [], 10240 + os.getpid() % 10000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
                found.append(candidate)
            except OSError:
                continue
    return found


def allow_many_files():
    """Broker and load generator hold a descriptor for each connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_cleanly():
    """Lets SIGTERM end the program as Ctrl-C does, so that no broker is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def first_words(command):
    """What a program says about its version."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=10, check=False)
    return next(iter((done.stdout or done.stderr).splitlines()), "").strip()


class Broker:
    """One broker. Subclasses say how it is configured and started."""
    name = ""
    wires = ("tcp", "ws")
    qos_most = 2
    mqtt5 = True

    def __init__(self, options="persistence true"):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        self.folder.chmod(0o755)
        (self.folder / "data").mkdir(mode=0o700)
        tcp, ws, extra = free_ports(3)
        self.ports = {"tcp": tcp, "ws": ws, "relay": tcp, "extra": extra}
        self.process = None

    @classmethod
    def version(cls):
        raise NotImplementedError

    def prepare(self):
        """Writes the configuration."""

    def command(self):
        raise NotImplementedError

    def write_config(self, template):
        path = self.folder / "broker.conf"
        path.write_text(template.format(folder=self.folder, options=self.options, **self.ports))
        return path

    @property
    def log(self):
        return self.folder / "log"

    def start(self):
        """Starts the broker and returns the seconds until it accepted an MQTT client."""
        self.prepare()
        begin = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True,
                                            preexec_fn=allow_many_files)
        while not self.serves():
            if self.process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                raise RuntimeError(f"{self.name} does not start:\n{self.tail()}")
            time.sleep(0.002)
        return time.monotonic() - begin

    def serves(self):
        """One MQTT CONNECT is answered with success."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["tcp"]), 0.2) as client:
                client.settimeout(5)
                client.sendall(b"\x10\x11\0\4MQTT\4\2\0\x3c\0\5probe")
                answer = client.recv(4)
                client.sendall(b"\xe0\0")
                return answer == b"\x20\2\0\0"
        except OSError:
            return False

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self):
        """Ends the broker in an orderly way."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def dispose(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid


class Mosquitto(Broker):
    name = "mosquitto"

    @classmethod
    def version(cls):
        return first_words([cls.executable(), "-h"])

    @staticmethod
    def executable():
        return shutil.which("mosquitto") or "/usr/sbin/mosquitto"

    def prepare(self):
        if os.geteuid() == 0:  # it gives up root for this user before it opens its database
            shutil.chown(self.folder / "data", "mosquitto")

    def command(self):
        return [self.executable(), "-c", self.write_config(MOSQUITTO)]


class Nats(Broker):
    name = "nats-server"
    qos_most = 1
    mqtt5 = False

    @classmethod
    def version(cls):
        return first_words([cls.executable(), "-v"])

    @staticmethod
    def executable():
        return shutil.which("nats-server") or "/usr/sbin/nats-server"

    def command(self):
        return [self.executable(), "-c", self.write_config(NATS)]


class Bulkhead(Broker):
    name = "Bulkhead"

    @classmethod
    def version(cls):
        git = ["git", "-C", ROOT, "log", "-1", "--format=commit %h, %cs"]
        return f"Bulkhead, {first_words(git)}"

    def prepare(self):
        key = self.folder / "bulkhead.key"
        if not key.exists():
            subprocess.run([BUILD / "ctl/bulkheadctl", "key", "new", key], check=True,
                           stdout=subprocess.DEVNULL)

    def command(self):
        return [BUILD / "master/bulkheadd", "-c", self.write_config(BULKHEAD)]


class Relay(Broker):
    """The floor: one process, or two with a socket pair between them."""
    wires = ("relay",)
    processes = 1

    @classmethod
    def version(cls):
        return ""

    def command(self):
        return [BUILD / "bench/bulkhead-relay", str(self.ports["tcp"]), str(self.processes)]

    def serves(self):
        try:
            socket.create_connection(("127.0.0.1", self.ports["tcp"]), 0.2).close()
            return True
        except OSError:
            return False


class Relay1(Relay):
    name = "relay, 1 process"


class Relay2(Relay):
    name = "relay, socket pair"
    processes = 2


KINDS = {"mosquitto": Mosquitto, "nats": Nats, "bulkhead": Bulkhead, "relay1": Relay1,
         "relay2": Relay2}
