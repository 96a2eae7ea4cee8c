"""Programs of others that speak to a broker: mosquitto's clients, and scripts of tests/js."""
import json
import os
import subprocess
import threading

from . import processes
from .broker import ROOT

SECONDS = 20


class Subscriber:
    """A mosquitto_sub that runs until it has seen `count` messages."""

    def __init__(self, broker, count, *arguments):
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.ports["tcp"]),
                   "-C", str(count), "-W", str(SECONDS), "-d", *arguments]
        self.process = subprocess.Popen(["stdbuf", "-oL", *command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        threading.Thread(target=self._collect, daemon=True).start()
        try:
            # It may have all its messages, and be gone, before SUBACK.
            processes.wait_until(lambda: any("SUBACK" in line or "sending DISCONNECT" in line
                                             for line in self.lines), SECONDS, "SUBACK")
        except AssertionError:
            self.process.kill()
            raise AssertionError(self.lines) from None

    def _collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def messages(self):
        """What it printed, without its own log."""
        try:
            assert self.process.wait(SECONDS + 5) == 0, self.lines
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        processes.wait_until(lambda: any("DISCONNECT" in line for line in self.lines), 5,
                             "the last line")
        noise = ("Client ", "Subscribed ", "Received ")
        return [line for line in self.lines if not line.startswith(noise)]


def mosquitto_pub(broker, *arguments):
    done = subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.ports["tcp"]),
                           *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr


def node(script, broker, topic, **extra):
    """Runs a script of tests/js; returns the JSON of its last line."""
    environment = {**os.environ, "TCP_PORT": str(broker.ports["tcp"]),
                   "WS_PORT": str(broker.ports["ws"]), "TOPIC": topic,
                   **{key: str(value) for key, value in extra.items()}}
    done = subprocess.run(["node", script], cwd=ROOT / "tests" / "js", stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
