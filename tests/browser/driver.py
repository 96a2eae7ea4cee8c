"""Headless Chromium, driven over chromedriver's HTTP interface."""
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from lib import processes
from lib.broker import free_port


class CannotRun(Exception):
    """No browser can run here; says why."""


class Browser:
    """One window."""

    def __init__(self):
        if not shutil.which("chromedriver"):
            raise CannotRun("there is no chromedriver here")
        self.port = free_port()
        self.profile = tempfile.mkdtemp(prefix="bulkhead-browser-")
        self.session = None
        self.process = subprocess.Popen(
            ["chromedriver", f"--port={self.port}", "--log-level=SEVERE"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        try:
            processes.wait_until(self._is_ready, 20, "chromedriver")
            self.session = self._open()
        except (AssertionError, urllib.error.URLError) as error:
            self.close()
            raise CannotRun(f"Chromium does not start here: {error}") from error

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode(errors="replace")[:600]) from error

    def _is_ready(self):
        try:
            return self._call("GET", "/status")["ready"]
        except (urllib.error.URLError, OSError):
            return False

    def _open(self):
        # Root may not use Chromium's own sandbox; the page is ours.
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--no-first-run", "--disable-background-networking",
                     f"--user-data-dir={self.profile}"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        return self._call("POST", "/session",
                          {"capabilities": {"alwaysMatch": options}})["sessionId"]

    def go(self, url):
        self._call("POST", f"/session/{self.session}/url", {"url": url})

    def run(self, script, *arguments):
        """Runs JavaScript in the page and returns what it returns."""
        return self._call("POST", f"/session/{self.session}/execute/sync",
                          {"script": script, "args": list(arguments)})

    def close(self):
        if self.session:
            try:
                self._call("DELETE", f"/session/{self.session}")
            except (AssertionError, OSError):
                pass
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.profile, ignore_errors=True)
