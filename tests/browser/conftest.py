"""Fixtures: a broker behind the stand-in for cloudflared, a page on a server, and a browser."""
import base64
import functools
import http.server
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from driver import Browser, CannotRun
from lib import processes
from lib.broker import DEFAULT_CONFIG, ROOT, Broker, free_port

HERE = Path(__file__).resolve().parent
STAND_IN = ROOT / "tests/compose/standin/cloudflared"
MQTT_JS = ROOT / "tests/js/node_modules/mqtt/dist/mqtt.min.js"
USERS = {"ada": "a password of ada's", "bob": "a password of bob's"}
CONFIG = DEFAULT_CONFIG.replace("allow_anonymous true", """\
password_file {dir}/passwords
acl_file {dir}/aclfile
protected true""") + "websocket_origin {origin}\n"


class PageServer:
    """The page and MQTT.js, on two ports: two origins to a browser."""

    def __init__(self):
        self.servers = [self._serve(), self._serve()]
        self.origin, self.other_origin = (f"http://127.0.0.1:{server.server_address[1]}"
                                          for server in self.servers)

    @staticmethod
    def _serve():
        class Handler(http.server.SimpleHTTPRequestHandler):
            def translate_path(self, path):
                return str(MQTT_JS if path == "/mqtt.min.js" else HERE / "page.html")

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


class Tunnel:
    """The stand-in for cloudflared as a process of this machine."""

    def __init__(self, folder, origin):
        self.port = free_port()
        metrics = f"127.0.0.1:{free_port()}"
        token = folder / "token"
        token.write_bytes(base64.b64encode(json.dumps({"origin": origin}).encode()))
        self.process = subprocess.Popen(
            [STAND_IN, "tunnel", "--no-autoupdate", "--management-diagnostics=false", "run"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "TUNNEL_TOKEN_FILE": str(token), "TUNNEL_METRICS": metrics,
                 "TUNNEL_TRANSPORT_PROTOCOL": "quic",
                 "STAND_IN_EDGE": f"127.0.0.1:{self.port}"})

        def ready():
            return subprocess.run([STAND_IN, "tunnel", "--metrics", metrics, "ready"],
                                  check=False, stderr=subprocess.DEVNULL).returncode == 0
        processes.wait_until(ready, 20, "the stand-in", step=0.1)

    def cut(self):
        self.process.send_signal(signal.SIGUSR1)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def browser():
    try:
        opened = Browser()
    except CannotRun as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def pages():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def broker(pages):
    made = Broker("release", config=CONFIG.replace("{origin}", pages.origin))
    for user, password in USERS.items():
        subprocess.run([made.executable("bulkheadctl"), "passwd", "add",
                        made.folder / "passwords", user], input=password + "\n", text=True,
                       check=True, capture_output=True)
    (made.folder / "aclfile").write_text("pattern readwrite %u/#\n")
    made.start()
    try:
        yield made
        made.stop()
    finally:
        made.dispose()


@pytest.fixture(scope="session")
def tunnel(broker):
    running = Tunnel(broker.folder, f"http://127.0.0.1:{broker.ports['ws']}")
    yield running
    running.close()
