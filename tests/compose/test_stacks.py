"""The four stacks behind the stand-in for cloudflared: what a client meets, how each process is
confined by the kernel's and the engine's own account, and that no secret is seen anywhere."""
import json
import re
import subprocess
from pathlib import Path

import pytest
from lib import mqtt_packets as mqtt
from lib import processes
from lib.transport import Stream, StreamClosed, read_response, upgrade_request
from stack import PASSWORDS, TOKEN_CANARY
from swarm import Swarm

pytestmark = pytest.mark.timeout(900)
CAPABILITIES = {"SETUID": 7, "SETGID": 6, "SYS_CHROOT": 18, "KILL": 5}
OPEN, OWN, OTHER, THIRD = None, "my_username", "other_username", "third_username"
NOT_AUTHORIZED = 0x87
PAYLOAD = "canary-of-the-payload"
CLIENTS = 2000
BACK_SECONDS = 10


def user_of(stack):
    return OPEN if stack.variant == "open" else OWN


def cap_names(inspect):
    """The names without the prefix that newer engines write."""
    return sorted(name.removeprefix("CAP_") for name in inspect["HostConfig"]["CapAdd"] or [])


def test_publish_and_subscribe(any_stack):
    user = user_of(any_stack)
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        subscriber = any_stack.connect("sub", user, version)
        subscriber.subscribe(("my_username/a", 1))
        publisher = any_stack.connect("pub", user, version)
        publisher.publish("my_username/a", f"hello {version}", qos=1)
        subscriber.receive("my_username/a", f"hello {version}")
        subscriber.disconnect()
        publisher.disconnect()


def test_acceptance(any_stack):
    """The old stack's scenario, in a form that can fail."""
    if any_stack.variant == "open":
        pytest.skip("the open variant keeps nothing and protects nobody")
    owner = any_stack.connect("owner", OWN)
    owner.publish("my_username/topic", PAYLOAD, qos=1, retain=True, expect=0x10)
    owner.publish("other_username/topic", PAYLOAD, qos=1, retain=True, expect=NOT_AUTHORIZED)
    any_stack.restart()
    owner = any_stack.connect("owner", OWN)
    owner.subscribe("my_username/#")
    owner.receive("my_username/topic", PAYLOAD, retain=True)
    publisher = any_stack.connect("publisher", OWN)
    for name in (OTHER, THIRD):
        client = any_stack.connect("peek", name)
        for pattern in ("my_username/topic", "my_username/#", "#", "+/topic",
                        "$share/group/#", "$share/group/my_username/topic"):
            client.subscribe(pattern, expect=[NOT_AUTHORIZED])
        client.subscribe(f"{name}/#")
        publisher.publish("my_username/live", PAYLOAD, qos=1)
        owner.receive("my_username/live", PAYLOAD)
        client.barrier()
    any_stack.client("liar").connect(username=OWN, password="wrong", expect=0x86)
    any_stack.client("nobody").connect(expect=NOT_AUTHORIZED)


def test_nothing_readable_on_the_volume(any_stack):
    if any_stack.variant == "open":
        pytest.skip("the open variant keeps nothing")
    client = any_stack.connect("writer", OWN)
    client.publish("my_username/canary-topic", PAYLOAD, qos=1, retain=True)
    volume = any_stack.engine.docker("volume", "inspect", "bulkhead-test_data", "--format",
                                     "{{.Mountpoint}}").stdout.strip()
    files = [path for path in Path(volume).rglob("*") if path.is_file()]
    assert any(path.stat().st_size > 0 for path in files)
    for path in files:
        data = path.read_bytes()
        words = ["canary-topic", PAYLOAD]
        if path.parent.name != "audit":  # which names who was refused, for people to read
            words += ["my_username", "writer"]
        for word in words:
            assert word.encode() not in data, f"{path} holds {word}"


def test_handshake_through_the_tunnel(any_stack):
    """What the tunnel rewrites is taken; a wrong path is refused by the broker itself."""
    with any_stack.client("spelling", headers=[("X-Forwarded-For", "203.0.113.9"),
                                               ("Sec-WebSocket-Extensions", "permessage-deflate")]):
        pass
    for path in ("/", "/metrics", "/mqtt/../metrics"):
        stream = Stream(("127.0.0.1", any_stack.port))
        stream.send(upgrade_request(path)[0])
        assert read_response(stream).status == 404
        stream.close()


def test_the_broker_knows_whom_the_tunnel_serves(any_stack):
    """Limits and the audit go by the client's own address, which the edge names."""
    if any_stack.variant == "open":
        pytest.skip("the open variant keeps no audit log")
    with any_stack.client("addressed") as client:
        client.connect(username=OWN, password=PASSWORDS[OWN])
        any_stack.ctl("audit", "verify")
    log = Path(any_stack.engine.docker("volume", "inspect", "bulkhead-test_data", "--format",
                                       "{{.Mountpoint}}").stdout.strip()) / "audit/audit.log"
    event, = (event for event in map(json.loads, log.read_text().splitlines())
              if event["event"] == "connected" and event["client_id"] == "addressed")
    assert event["proxied"] and event["address"], event


def test_a_cut_costs_connections_only(any_stack):
    """The edge restarts: clients see the end, come back, and find their sessions."""
    user = user_of(any_stack)
    expiry = {"session_expiry_interval": 300}
    client = any_stack.client("cut")
    name = {"username": user, "password": PASSWORDS[user]} if user else {}
    client.connect(clean=True, properties=expiry, **name)
    client.subscribe(("my_username/kept", 1))
    any_stack.cut()
    with pytest.raises((StreamClosed, AssertionError)):
        client.expect(mqtt.PUBLISH, timeout=10)
    any_stack.connect("meanwhile", user).publish("my_username/kept", "while away", qos=1)
    again = any_stack.client("cut")
    again.connect(clean=False, properties=expiry, **name)
    assert again.connack.session_present
    again.receive("my_username/kept", "while away")
    again.send(mqtt.disconnect(0, {"session_expiry_interval": 0}))


def test_mass_reconnect(any_stack):
    if any_stack.variant == "reduced":
        pytest.skip("shown on the other stacks")
    user = user_of(any_stack)
    swarm = Swarm(any_stack.port, CLIENTS, user, PASSWORDS.get(user))
    try:
        swarm.connect(120)
        any_stack.cut()
        swarm.wait_all_lost(20)
        seconds = swarm.connect(BACK_SECONDS)
        print(f"{any_stack.variant}: {CLIENTS} clients were back within {seconds:.1f} s")
    finally:
        swarm.close()
    any_stack.ctl("health")


def test_engine_confines(any_stack):
    """What the engine was told, as it tells."""
    broker, tunnel = (any_stack.engine.inspect(name) for name in ("mosquitto", "cloudflared"))
    profile = json.loads(Path("compose/seccomp.json").read_text())
    for found in (broker, tunnel):
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert not host["Privileged"]
        assert host["CapDrop"] == ["ALL"]
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
        assert host["PidsLimit"] > 0
        assert 0 < host["Memory"] == host["MemorySwap"]
        assert {"Name": "core", "Soft": 0, "Hard": 0} in host["Ulimits"]
        assert host["LogConfig"]["Config"]["max-size"] == "10m"
        assert not host["Devices"]
        for mount in found["Mounts"]:
            writable = mount["Type"] == "volume" and found is broker
            assert mount["RW"] == writable, mount
    option = next(text for text in broker["HostConfig"]["SecurityOpt"] if "seccomp" in text)
    assert json.loads(option.split("=", 1)[-1].removeprefix("seccomp:")) == profile
    wanted = [] if any_stack.variant == "reduced" else sorted(CAPABILITIES)
    assert cap_names(broker) == wanted
    assert cap_names(tunnel) == []
    assert tunnel["Config"]["User"] == "65532:65532"
    assert broker["Config"]["User"] == ("51201:51201" if any_stack.variant == "reduced" else "")
    assert not broker["HostConfig"]["PortBindings"]
    assert set(tunnel["HostConfig"]["PortBindings"]) == {"8080/tcp"}, "the tests' own, no other"
    networks = set(broker["NetworkSettings"]["Networks"])
    if any_stack.variant == "unix":
        assert networks == {"none"}
        interfaces = any_stack.engine.run("nsenter", "-t", any_stack.master(), "-n", "ip", "-o",
                                          "link").stdout.splitlines()
        assert [line.split(": ")[1] for line in interfaces] == ["lo"]
    else:
        assert networks == {"bulkhead-test_origin"}
        assert any_stack.engine.inspect("bulkhead-test_origin")["Internal"]
    mounts = {mount["Destination"] for mount in broker["Mounts"]}
    assert mounts <= {"/etc/bulkhead", "/var/lib/bulkhead", "/run/secrets/bulkhead_key",
                      "/run/bulkhead-socket"}


def test_kernel_and_broker_agree(any_stack):
    """/proc, seen from outside the container, and the broker's report from inside it."""
    report = json.loads(any_stack.ctl("--json", "sandbox"))
    told = {process["pid"]: process for process in report["processes"] if process["pid"]}
    reduced = any_stack.variant == "reduced"
    assert report["tier"] == ("reduced" if reduced else "full")
    allowed = 0 if reduced else sum(1 << bit for bit in CAPABILITIES.values())
    uids = {}
    for pid in any_stack.broker_pids():
        seen = processes.status(pid)
        inside = int(seen["NSpid"].split()[-1])
        process = told.pop(inside)
        role = process["role"]
        uids.setdefault(role, set()).add(seen["Uid"])
        assert seen["Uid"] == process["uids"] and len(set(seen["Uid"].split())) == 1
        assert seen["CapEff"] == process["cap_effective"]
        assert seen["Seccomp"] == process["seccomp"] == "2"
        assert seen["NoNewPrivs"] == process["no_new_privs"] == "1"
        assert int(seen["CapBnd"], 16) & ~allowed == 0
        if role == "master":
            assert int(seen["CapEff"], 16) & ~allowed == 0
            continue
        assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == 0
        assert int(seen["Seccomp_filters"]) >= 2, "the container's and its own"
        root = Path(f"/proc/{pid}/root")
        names = {path.name for path in root.iterdir()}
        if not reduced:
            assert "etc" not in names and "proc" not in names
            assert seen["Groups"] == ""
            assert role == "persistd" or not names
    assert not told, "the broker reports processes that are not there"
    if reduced:
        assert {uid for found in uids.values() for uid in found} == {"51201\t51201\t51201\t51201"}
    else:
        workers = uids.pop("worker")
        assert len(workers) == (1 if any_stack.variant == "unix" else 2), "one user a listener"
        every = [uid for found in uids.values() for uid in found] + list(workers)
        assert len(every) == len(set(every)), "a user for each kind of process"
    writable = [line.split()[1] for line in
                Path(f"/proc/{any_stack.master()}/mounts").read_text().splitlines()
                if re.search(r"\brw\b", line.split()[3])]
    assert not [mount for mount in writable if not mount.startswith(
        ("/run/bulkhead", "/tmp", "/dev", "/var/lib/bulkhead", "/proc")) and
                # an empty tmpfs that the engine lays out for cgroups of version 1
                mount != "/sys/fs/cgroup"], writable


def test_doctor(any_stack):
    """The stacks pass the checks of docs/PRODUCTION.md, but for the open one's openness."""
    done = any_stack.engine.docker("exec", "mosquitto", "/usr/bin/bulkheadctl", "--json", "doctor",
                                   check=False)
    found = {(entry["check"], entry["verdict"]) for entry in json.loads(done.stdout)}
    bad = {check for check, verdict in found if verdict == "bad"}
    assert bad == ({"identity", "rules"} if any_stack.variant == "open" else set()), done.stdout
    assert done.returncode == (1 if bad else 0)
    assert (("tier", "good") in found) == (any_stack.variant != "reduced")


def test_no_secret_is_seen(any_stack):
    engine = any_stack.engine
    any_stack.connect("secretive", user_of(any_stack)).disconnect()
    places = {"logs": any_stack.logs(),
              "history": engine.docker("history", "--no-trunc", "bulkhead:latest").stdout,
              "config": any_stack.compose("config").stdout,
              "status": any_stack.ctl("--json", "status"),
              "sandbox": any_stack.ctl("--json", "sandbox")}
    for name in ("mosquitto", "cloudflared"):
        places[f"inspect {name}"] = json.dumps(engine.inspect(name))
        main = engine.inspect(name)["State"]["Pid"]
        for pid in [main, *processes.children(main)]:
            for file in ("environ", "cmdline"):
                places[f"{name} {pid} {file}"] = \
                    Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
    secrets = [TOKEN_CANARY, any_stack.token, *PASSWORDS.values()]
    secrets += [any_stack.key.decode("latin-1").strip(), any_stack.key.hex()]
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, f"a secret is in: {place}"


def test_health_check_can_fail(any_stack):
    """The health check is more than a process that exists."""
    if any_stack.variant != "protected":
        pytest.skip("shown on the protected stack")
    broker = any_stack.engine.inspect("mosquitto")["Config"]["Healthcheck"]["Test"]
    assert broker == ["CMD", "/usr/bin/bulkheadctl", "health"]
    router = next(pid for pid, comm in processes.children(any_stack.master()).items()
                  if comm.startswith("bulkhead-router"))
    subprocess.run(["kill", "-STOP", str(router)], check=True)
    try:
        def unwell():
            return any_stack.engine.docker("exec", "mosquitto", "/usr/bin/bulkheadctl", "health",
                                           check=False).returncode != 0
        processes.wait_until(unwell, 40, "the health check to fail", step=0.5)
    finally:
        subprocess.run(["kill", "-CONT", str(router)], check=False)
    any_stack.wait_healthy("mosquitto")
