"""Starts, watches, kills and stops a broker for a test. Every wait has a deadline, every signal
goes to a process by its number."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import mqtt_packets as mqtt
from . import processes
from .mqtt_client import Client
from .transport import Stream, WebSocket

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30
STOP_SECONDS = 30
READY = "bulkheadd: ready"
CHILDREN = ("worker", "router", "persistd", "authd")
# Lines that no run may produce unless its test expects them.
ALARMS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "LeakSanitizer has encountered",
          "runtime error:", "sandbox violation", "internal error:")
# A name of a peer's executable here runs the tests against that broker: a way to check the tests.
PEER = os.environ.get("BULKHEAD_TEST_BROKER")
ONLY_OURS = ("key_file", "control_socket", "workers", "sys_topics")

DEFAULT_CONFIG = """\
allow_anonymous true
persistence true
persistence_location {dir}/data/
key_file {dir}/bulkhead.key
control_socket {dir}/control.sock
{options}
listener {tcp} 127.0.0.1
{listener_options}
listener {ws} 127.0.0.1
protocol websockets
{listener_options}
"""


class Ports:
    """Ports below the range from which the kernel picks those of outgoing connections. Each run of
    tests has a stretch of its own, or two that run at once would take each other's."""
    FIRST, STRETCHES, LENGTH = 10240, 40, 540

    def __init__(self):
        self.claim = self.first = None
        self.next = 0

    def _claim_stretch(self):
        for number in range(self.STRETCHES):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0bulkhead-test-ports-{number}")
            except OSError:
                claim.close()
                continue
            self.claim = claim  # until this process ends
            self.first = self.FIRST + number * self.LENGTH
            return
        raise AssertionError("too many runs of tests at once")

    def free(self):
        if self.claim is None:
            self._claim_stretch()
        for _ in range(self.LENGTH):
            port = self.first + self.next
            self.next = (self.next + 1) % self.LENGTH
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise AssertionError("no free port")


free_port = Ports().free


class Broker:
    """One broker with a folder of its own. `config` is a template with {dir}, {tcp}, {ws},
    {options} and {listener_options}; `files` are others of its folder, {name: text}. `user` is a
    numeric user id to run as; `namespace` a NetworkNamespace to run in."""

    def __init__(self, build, config=DEFAULT_CONFIG, options="", listener_options="", arguments=(),
                 user=None, bin_folder=None, environment=None, namespace=None, files=None):
        self.build = build
        self.user = user
        self.bin = Path(bin_folder) if bin_folder else None
        self.environment = environment or {}
        self.namespace = namespace
        self.folder = Path(tempfile.mkdtemp(prefix="bulkhead-test-"))
        self.folder.chmod(0o755)
        self.ports = {"tcp": free_port(), "ws": free_port()}
        self.config = config
        self.arguments = list(arguments)
        self.process = None
        self.collector = None
        self.lines = []
        self.clients = []
        self.expected = {}
        self.allowed_alarms = []
        (self.folder / "data").mkdir(mode=0o700)
        self.write_config(options, listener_options)
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
        if not PEER and "key_file" in self.config:
            self.make_key()
        if user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, user, user)

    # -- files

    @property
    def config_path(self):
        return self.folder / "bulkhead.conf"

    @property
    def data(self):
        return self.folder / "data"

    @property
    def control_socket(self):
        return self.folder / "control.sock"

    def write_config(self, options="", listener_options=""):
        text = self.config
        for name, value in {"options": options, "listener_options": listener_options,
                            "dir": self.folder, **self.ports}.items():
            text = text.replace("{%s}" % name, str(value))
        if PEER:
            text = "\n".join(line for line in text.splitlines()
                             if not line.startswith(ONLY_OURS))
        self.config_path.write_text(text)

    def executable(self, name):
        """An executable in the build tree, or in the installed tree that this broker uses."""
        if self.bin:
            return self.bin / {"bulkheadd": "sbin", "bulkheadctl": "bin"}[name] / name
        return ROOT / "build" / self.build / {"bulkheadd": "master", "bulkheadctl": "ctl"}[name] / name

    def ctl(self, *arguments, timeout=30, check=True, **options):
        """Runs bulkheadctl; returns the finished process with its output as text."""
        done = subprocess.run([self.executable("bulkheadctl"), *map(str, arguments)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"bulkheadctl {arguments}: {done.returncode}\n{done.stdout}"
                                 f"{done.stderr}")
        return done

    def make_key(self):
        self.ctl("key", "new", self.folder / "bulkhead.key")

    # -- life

    def start(self):
        """Starts the broker and waits until it serves."""
        self.launch()
        processes.wait_until(self._is_ready, START_SECONDS, "the broker to be ready")
        self.expected = self.children()
        return self

    def launch(self):
        """Starts the broker without waiting for anything."""
        command = [PEER] if PEER else [self.executable("bulkheadd")]
        command += ["-c", self.config_path, *self.arguments]
        if self.user is not None:
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups",
                       *command]
        if self.namespace:
            command = [*self.namespace.command, *command]
        environment = {**os.environ, **self.environment}
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        self.lines = []
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self.folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=environment, start_new_session=True)
        self.collector = threading.Thread(target=self._collect, args=(self.process, self.lines),
                                          daemon=True)
        self.collector.start()

    @staticmethod
    def _collect(process, lines):
        for line in process.stdout:
            lines.append(line.decode(errors="replace").rstrip("\n"))

    def _is_ready(self):
        if self.process.poll() is not None:
            time.sleep(0.1)
            raise AssertionError(f"the broker ended with {self.process.returncode} at start:\n"
                                 + self.log())
        return any((" running" if PEER else READY) in line for line in list(self.lines))

    def log(self):
        return "\n".join(list(self.lines))

    def wait_for_log(self, text, timeout=10):
        return processes.wait_until(
            lambda: next((line for line in list(self.lines) if text in line), None),
            timeout, f"{text!r} in the log:\n{self.log()}")

    def wait_for_exit(self, timeout=STOP_SECONDS):
        """The exit code of a broker that ends by itself."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the broker still runs after {timeout} s:\n{self.log()}") \
                from None
        self._expect_no_orphans()
        self.collector.join(5)
        return code

    def stop(self):
        """SIGTERM; the broker must end with 0, leave no process, and have logged no alarm."""
        self.check_healthy()
        for client in self.clients:  # or the broker waits for each to take its last bytes
            client.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.wait_for_exit()
        self.process = None
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.log()}"
        self.check_log()

    def restart(self):
        self.stop()
        return self.start()

    def _expect_no_orphans(self):
        """Children outlive the master only as long as their parent-death signal takes."""
        processes.wait_until(lambda: not any(processes.alive(pid) for pid in self.expected), 5,
                             "the children to end with their master")

    def dispose(self):
        """Ends whatever still runs and removes the folder; for teardown."""
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            left = [*processes.children(self.process.pid), self.process.pid]
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- health

    def children(self):
        """{pid: comm} of the broker's processes below the master."""
        return processes.children(self.process.pid)

    def pids(self, name):
        """The processes of one kind, `master` included, oldest first."""
        if name == "master":
            return [self.process.pid]
        return sorted(pid for pid, comm in self.children().items()
                      if comm == f"bulkhead-{name}"[:15])

    def pid(self, name):
        found = self.pids(name)
        assert found, f"no {name} runs:\n{self.log()}"
        return found[0]

    def kill_process(self, name, number=signal.SIGKILL, pid=None):
        """Signals one process of a kind and waits until it is gone; the health check then expects
        another one in its place."""
        pid = pid or self.pid(name)
        self.expected.pop(pid, None)
        os.kill(pid, number)
        processes.wait_until(lambda: not processes.alive(pid), 10, f"{name} {pid} to end")
        return pid

    def wait_replaced(self, name, count=1, timeout=20):
        """Waits until `count` processes of a kind run, and takes them for the expected ones."""
        processes.wait_until(lambda: len(self.pids(name)) == count, timeout,
                             f"{count} {name} to run; log:\n{self.log()}")
        self.adopt()

    def adopt(self):
        """Takes the processes that run now for the expected ones."""
        self.expected = self.children()

    def check_healthy(self):
        assert self.process is not None and self.process.poll() is None, \
            f"the broker ended with {self.process and self.process.returncode}:\n{self.log()}"
        gone = [f"{comm} {pid}" for pid, comm in self.expected.items() if not processes.alive(pid)]
        assert not gone, f"died: {gone}\n{self.log()}"
        self.check_log()

    def check_log(self):
        alarms = [line for line in list(self.lines)
                  if any(alarm in line and alarm not in self.allowed_alarms for alarm in ALARMS)]
        assert not alarms, "alarms in the log:\n" + self.log()

    # -- clients

    def address(self, over="tcp"):
        """Where a transport connects: `tcp`, `ws`, or the path of a unix socket."""
        return ("127.0.0.1", self.ports[over]) if over in self.ports else over

    def client(self, client_id="", version=mqtt.V5, over="tcp", **options):
        """A client with an open transport that has said nothing yet."""
        with self.namespace.entered() if self.namespace else contextlib.nullcontext():
            kind = WebSocket if over == "ws" else Stream
            transport = kind(self.address(over), **options)
        client = Client(transport, version, client_id)
        self.clients.append(client)
        return client

    def connect(self, client_id="", version=mqtt.V5, over="tcp", **fields):
        """A connected client."""
        client = self.client(client_id, version, over)
        client.connect(**fields)
        return client

    def worker_of(self, client):
        """The worker process that holds a client's connection (TCP, or WebSocket over it)."""
        stream = client.transport.socket
        pid = processes.socket_owner(stream.getpeername()[1], stream.getsockname()[1],
                                     self.pids("worker"))
        assert pid, "no worker holds this connection"
        return pid
