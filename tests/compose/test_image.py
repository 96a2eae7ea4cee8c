"""What is in the image, and what the compose files say before anything runs."""
import io
import json
import subprocess
import tarfile

import pytest
from engine import DOCKER, IMAGE, ROOT
from lib import processes
from stack import COMPOSE_FILES

pytestmark = pytest.mark.timeout(900)
FORBIDDEN_CALLS = {"io_uring_setup", "io_uring_enter", "io_uring_register", "ptrace", "bpf", "mount",
                   "umount2", "pivot_root", "unshare", "setns", "keyctl", "add_key", "request_key",
                   "perf_event_open", "userfaultfd", "process_vm_readv", "process_vm_writev",
                   "init_module", "finit_module", "kexec_load", "reboot", "open_by_handle_at"}


@pytest.fixture(scope="module")
def files(engine):
    """{name: bytes of the first MiB} of the image's regular files."""
    engine.docker("create", "--name", "bulkhead-test-image", IMAGE)
    try:
        done = subprocess.run([DOCKER, "export", "bulkhead-test-image"], check=True,
                              capture_output=True, env=engine.environment)
    finally:
        engine.docker("rm", "bulkhead-test-image")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name: archive.extractfile(member).read(1 << 20)
                for member in archive if member.isreg()}


def test_nothing_to_run_but_ours(files):
    programs = {name for name in files if "bin/" in name or "libexec/" in name}
    assert programs == {"usr/sbin/bulkheadd", "usr/bin/bulkheadctl",
                        *(f"usr/libexec/bulkhead/bulkhead-{role}"
                          for role in ("worker", "router", "persistd", "authd"))}
    scripts = [name for name, data in files.items() if data.startswith(b"#!")]
    assert not scripts
    for name in ("bash", "dash", "sh", "busybox", "apt", "dpkg", "perl"):
        assert not [path for path in files if path.endswith(f"/{name}")]


def test_labels_and_health(engine):
    config = engine.inspect(IMAGE)["Config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/bulkheadctl", "health"]
    assert config["Entrypoint"] == ["/usr/sbin/bulkheadd"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert config["Labels"]["org.opencontainers.image.revision"] == "test"
    assert all("=" in line for line in config["Env"])


OLD_CONFIGURATION = """
listener 1883
allow_anonymous true
acl_file /mosquitto/config/aclfile
listener 9001
protocol websockets
persistence true
persistence_location /mosquitto/data/
autosave_interval 1
autosave_on_changes true
"""


def test_old_configuration_works_unchanged(engine, tmp_path):
    """With mosquitto's paths, and the passphrase where the old stack had it."""
    tmp_path.chmod(0o755)
    (tmp_path / "bulkhead.conf").write_text(OLD_CONFIGURATION)
    (tmp_path / "aclfile").write_text("pattern readwrite %u/#\n")
    name = "bulkhead-test-old"
    engine.docker("run", "-d", "--name", name, "--network", "none", "--read-only", "--tmpfs",
                  "/run/bulkhead", "-v", f"{tmp_path}:/etc/bulkhead:ro", "-v", "/var/lib/bulkhead",
                  "-e", "GOCRYPT_PASSWORD=a long passphrase", IMAGE)
    try:
        processes.wait_until(lambda: engine.docker("exec", name, "bulkheadctl", "health",
                                                   check=False).returncode == 0, 30,
                             "the broker with an old configuration", step=0.2)
        found = engine.docker("exec", name, "bulkheadctl", "store", "check").stdout
        assert "all of them are whole" in found
    finally:
        engine.docker("rm", "-fv", name)


def test_bill_of_materials(files):
    """SPDX 2.3, and every library of the image is in a package that it lists."""
    sbom = json.loads(files["usr/share/bulkhead/sbom.spdx.json"])
    assert sbom["spdxVersion"] == "SPDX-2.3" and sbom["SPDXID"] == "SPDXRef-DOCUMENT"
    identifiers = [part["SPDXID"] for part in sbom["packages"] + sbom["files"]]
    assert len(identifiers) == len(set(identifiers))
    for relation in sbom["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= set(identifiers)
    versions = {package["name"]: package["versionInfo"] for package in sbom["packages"]}
    assert versions["libsodium23"].startswith("1.0.18")
    assert {"libc6", "libwebsockets17", "libwebsockets-evlib-ev", "librocksdb7.8", "libjansson4",
            "libev4"} <= set(versions)
    for package in set(versions) - {"bulkhead"}:
        status = files[f"var/lib/dpkg/status.d/{package}"].decode()
        assert f"Version: {versions[package]}\n" in status
        assert f"usr/share/doc/{package}/copyright" in files
    assert {entry["fileName"] for entry in sbom["files"]} == \
        {f"./{name}" for name in files if "bin/" in name or "libexec/" in name}
    libraries = [name for name in files if ".so" in name]
    assert len(libraries) < 40, libraries


def test_profile_is_made_from_the_policies():
    subprocess.run([ROOT / "compose/image/seccomp.py", "--check"], check=True)
    profile = json.loads((ROOT / "compose/seccomp.json").read_text())
    allowed = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert not allowed & FORBIDDEN_CALLS
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"


def test_same_packages_as_elsewhere():
    def names(path):
        lines = (ROOT / path).read_text().splitlines()
        return {line.split("=")[0] for line in lines if line and not line.startswith("#")}
    assert names("compose/image/packages.txt") == names("cmake/packages-build.txt")
    pins = (ROOT / "compose/image/packages.txt").read_text().splitlines()
    assert all("=" in line for line in pins if not line.startswith("#"))


@pytest.mark.parametrize("variant", COMPOSE_FILES)
def test_compose_files(variant):
    """What an auditor looks for in the files themselves."""
    text = (ROOT / "compose" / COMPOSE_FILES[variant]).read_text()
    for word in ("privileged", "ports:", "SYS_ADMIN", "unconfined", "/dev/fuse", "--token",
                 "docker.sock"):
        assert word not in text
    assert "--token" not in (ROOT / "compose/hardened.yml").read_text()
