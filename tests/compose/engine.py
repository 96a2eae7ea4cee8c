"""A Docker engine: the one that runs, or one of our own for the time of the tests; and images."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BASE = "debian:bookworm-slim"
IMAGE = "bulkhead:latest"
STAND_IN = "bulkhead-standin:latest"
MIRROR = "http://deb.debian.org/debian"
SECURITY = "deb http://deb.debian.org/debian-security bookworm-security main\n"
DOCKER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
START_SECONDS = 45


class CannotRun(Exception):
    """Docker cannot run here; says why."""


class Engine:
    """Commands against one engine."""

    def __init__(self, host=None):
        self.host = host
        self.process = self.folder = None

    @property
    def environment(self):
        # The builder that every release has: BuildKit's needs a plug-in that Debian has not.
        found = {**os.environ, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
        if self.host:
            found["DOCKER_HOST"] = self.host
        return found

    def run(self, *command, check=True, timeout=120, **options):
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False, env={**self.environment, **options.pop("env", {})},
                              **options)
        done.stdout = done.stdout.decode(errors="replace")
        done.stderr = done.stderr.decode(errors="replace")
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n"
                                 f"{done.stdout[-6000:]}{done.stderr[-6000:]}")
        return done

    def docker(self, *arguments, **options):
        return self.run(DOCKER, *arguments, **options)

    def inspect(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]

    def answers(self):
        return self.docker("version", check=False, timeout=20).returncode == 0

    def has_image(self, name):
        return self.docker("image", "inspect", name, check=False).returncode == 0

    # -- an engine of our own

    def start(self):
        if os.geteuid() != 0:
            raise CannotRun("starting a Docker engine takes root")
        if not shutil.which("dockerd"):
            raise CannotRun("there is no dockerd here")
        if not any(line.split()[2].startswith("cgroup")
                   for line in Path("/proc/mounts").read_text().splitlines()):
            raise CannotRun("no cgroup file system is mounted here")
        self.folder = Path(tempfile.mkdtemp(prefix="bulkhead-docker-"))
        self.host = f"unix://{self.folder}/docker.sock"
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--data-root", self.folder / "data", "--exec-root",
                 self.folder / "exec", "--pidfile", self.folder / "pid", "--host", self.host],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                lines = (self.folder / "log").read_text(errors="replace").splitlines()
                self.stop()
                raise CannotRun("dockerd does not start here: " + "; ".join(lines[-2:]))
            time.sleep(0.2)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- images

    def make_base(self):
        """The base image under the name that the Dockerfile uses, made of Debian's packages: this
        needs no registry of images."""
        if self.has_image(BASE):
            return
        folder = Path(tempfile.mkdtemp(prefix="bulkhead-base-"))
        try:
            done = self.run("debootstrap", "--variant=minbase", "bookworm", folder / "root",
                            MIRROR, timeout=400, check=False)
            if done.returncode != 0:
                raise CannotRun("debootstrap fails here: " + done.stdout[-300:])
            with open(folder / "root/etc/apt/sources.list", "a", encoding="ascii") as file:
                file.write(SECURITY)
            self.run("tar", "-C", folder / "root", "-cf", folder / "base.tar", ".")
            try:
                self.docker("import", folder / "base.tar", BASE)
            except AssertionError as error:
                raise CannotRun(f"the engine takes no image: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def build(self):
        # A first container: where even this fails the engine is of no use.
        done = self.docker("run", "--rm", "--network", "none", BASE, "/bin/true", check=False)
        if done.returncode != 0:
            raise CannotRun("no container can be started here: " + done.stderr.strip()[-300:])
        self.docker("build", "--network", "host", "-f", "compose/Dockerfile", "-t", IMAGE, ".",
                    "--build-arg", "REVISION=test", cwd=ROOT, timeout=600)
        self.docker("build", "--network", "host", "-t", STAND_IN, HERE / "standin", timeout=300)


def find():
    """A ready engine with the images; raises CannotRun."""
    engine = Engine()
    if not engine.answers():
        engine.start()
    try:
        taken = engine.docker("ps", "-aq", "--filter", "name=^/mosquitto$", "--filter",
                              "name=^/cloudflared$").stdout.strip()
        if taken:
            raise CannotRun("this engine has containers called mosquitto or cloudflared already")
        engine.make_base()
        engine.build()
    except BaseException:
        engine.stop()
        raise
    return engine
