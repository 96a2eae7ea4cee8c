"""Identity tokens: Cloudflare Access's from the tunnel, and any issuer's as passwords."""
import hashlib
import hmac
import json
import subprocess
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes, tokens
from lib.broker import ROOT
from lib.tokens import Key, claims, compact, key_set, token
from lib.users import audit_records
from test_wrong_password import password_line

ACCESS = """\
persistence true
persistence_location {dir}/data/
key_file {dir}/bulkhead.key
control_socket {dir}/control.sock
auth_failure_delay 0s
acl_file {dir}/acl
access_team team
access_audience other-audience """ + tokens.AUDIENCE + """
access_jwks_file {dir}/access.json
{options}
listener {tcp} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
{listener_options}
"""
JWT = """\
jwt_jwks_file {dir}/jwt.json
jwt_issuer https://issuer.example
jwt_audience mqtt
"""
TRUSTED = "trusted_proxies 127.0.0.1"
NOT_AUTHORIZED = {mqtt.V311: 5, mqtt.V5: 0x87}
BAD_CREDENTIALS = {mqtt.V311: 4, mqtt.V5: 0x86}
MAXIMUM_CONNECT_TIME = 0xA0


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two keys of the team, and one that is nobody's."""
    folder = tmp_path_factory.mktemp("keys")
    return {"rsa": Key(folder, "first"), "ec": Key(folder, "second", "EC"),
            "foreign": Key(folder, "foreign")}


@pytest.fixture
def token_broker(new_broker, keys):
    def make(options="", listener_options=TRUSTED, started=True, **files):
        broker = new_broker(started=False, config=ACCESS, options=options,
                            listener_options=listener_options)
        files = {"acl": "pattern readwrite %u/#\n",
                 "access.json": key_set(keys["rsa"], keys["ec"]),
                 "jwt.json": key_set(keys["rsa"]),
                 "passwords": password_line("user", "right"), **files}
        for name, text in files.items():
            (broker.folder / name).write_text(text)
        return broker.start() if started else broker
    return make


def through_tunnel(broker, assertion, client_id="c", version=mqtt.V5, expect=0, **fields):
    """Connects as cloudflared does for a client that Access let pass."""
    headers = [("Cf-Connecting-Ip", "203.0.113.7"), ("Cf-Ray", "8f1c2d3e4f5a6b7c-FRA")]
    if assertion is not None:
        headers.append(("Cf-Access-Jwt-Assertion", assertion))
    client = broker.client(client_id, version, "ws", headers=headers)
    client.connect(expect=expect, **fields)
    return client


def reload(broker, good=True):
    done = broker.ctl("-s", broker.control_socket, "reload", check=False)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done.stdout + done.stderr


def audit_events(broker, name, count):
    """That many records, once they are there."""
    def found():
        return [event for event in audit_records(broker) if event["event"] == name]

    processes.wait_until(lambda: len(found()) >= count, 15, f"{count} records {name}")
    assert len(found()) == count
    return found()


def owns(client, name):
    """The client may publish below this name, and not elsewhere."""
    client.publish(f"{name}/x", b"1", qos=1)
    client.publish("someone/else", b"1", qos=1, expect=0x87)


def test_an_access_token_says_who_it_is(token_broker, keys):
    broker = token_broker("log_type all")
    for key in (keys["rsa"], keys["ec"]):
        owns(through_tunnel(broker, token(key)), "ann@example.org")
    owns(through_tunnel(broker, token(keys["rsa"], aud=tokens.AUDIENCE, nbf=None)),
         "ann@example.org")
    service = claims(email=None, common_name="e367826f.access", sub="", nbf=None)
    owns(through_tunnel(broker, token(keys["ec"], service)), "e367826f.access")
    owns(through_tunnel(broker, token(keys["ec"], email="", common_name=None)), "7335d417")
    through_tunnel(broker, token(keys["rsa"]), username="ann@example.org", password="ignored")
    broker.wait_for_log("client 203.0.113.7: CF-Ray 8f1c2d3e4f5a6b7c-FRA")
    for name in ("bob@example.org", ""):
        through_tunnel(broker, token(keys["rsa"]), username=name, expect=0x87)


def bad_tokens(keys):
    """(what is wrong, the token)"""
    rsa, ec, now = keys["rsa"], keys["ec"], int(time.time())
    good = token(rsa)
    head, body, signature = good.split(".")
    yield "unsigned", compact({"alg": "none", "kid": rsa.kid}, claims(), lambda text: b"")
    yield "alg none", compact({"alg": "none", "kid": rsa.kid}, claims(), lambda text: b"x")
    yield "the public key as a secret", compact(
        {"alg": "HS256", "kid": rsa.kid}, claims(),
        lambda text: hmac.digest(rsa.public_pem(), text.encode(), hashlib.sha256))
    yield "another key's algorithm", token(rsa, header={"alg": "ES256"})
    yield "an algorithm of the family", token(rsa, header={"alg": "RS512"})
    yield "unknown kid", token(rsa, header={"kid": "third"})
    yield "the other key's kid", token(ec, header={"kid": rsa.kid, "alg": "RS256"})
    yield "a foreign key with our kid", token(keys["foreign"], header={"kid": rsa.kid})
    yield "no kid", token(rsa, header={"kid": None})
    yield "no alg", token(rsa, header={"alg": None})
    yield "critical extension", token(rsa, header={"crit": ["exp"]})
    yield "another audience", token(rsa, aud=["someone"])
    yield "a part of the audience", token(rsa, aud=tokens.AUDIENCE[:-1])
    yield "no audience", token(rsa, aud=None)
    yield "an audience that is a number", token(rsa, aud=[tokens.AUDIENCE, 1])
    yield "another issuer", token(rsa, iss="https://other.cloudflareaccess.com")
    yield "an issuer that goes on", token(rsa, iss=tokens.ISSUER + "/")
    yield "no issuer", token(rsa, iss=None)
    yield "an organization's token", token(rsa, type="org")
    yield "no type", token(rsa, type=None)
    yield "expired", token(rsa, life=-1)
    yield "no expiry", token(rsa, exp=None)
    yield "an expiry that is a text", token(rsa, exp=str(now + 600))
    yield "an expiry beyond all clocks", token(rsa, exp=1 << 62)
    yield "not before a time to come", token(rsa, nbf=now + 600)
    yield "issued in the future", token(rsa, iat=now + 600)
    yield "an address that is none", token(rsa, email=["ann@example.org"])
    yield "a name that is a number", token(rsa, email=None, common_name=7)
    yield "nobody", token(rsa, email=None, common_name="", sub="")
    yield "a name with NUL", token(rsa, email="ann\0")
    yield "duplicate claims", token(rsa, json.dumps(claims())[:-1] + ', "email": "ann@x.org"}')
    yield "duplicate header members", compact(
        '{"alg":"none","alg":"RS256","kid":"first"}', claims(), rsa.sign)
    yield "no JSON", token(rsa, "ann@example.org")
    yield "a list", token(rsa, json.dumps([claims()]))
    yield "more behind the JSON", token(rsa, json.dumps(claims()) + "{}")
    yield "changed claims", f"{head}.{tokens.base64url(json.dumps(claims(sub='x')).encode())}" \
        f".{signature}"
    yield "a cut signature", good[:-4]
    yield "padded base64", f"{head}=.{body}.{signature}"
    yield "bytes beside base64", f"{head}.{body}.{signature[:-1]}!"
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.{signature}"
    yield "dots", ".."
    yield "one letter", "x"
    yield "nested too deep", token(rsa, "[" * 3000 + "]" * 3000)
    yield "a huge one", token(rsa, filler="x" * 11000)[:15000]
    raw = ec.sign("x")
    yield "an empty elliptic signature", compact(
        {"alg": "ES256", "kid": ec.kid}, claims(), lambda text: bytes(len(raw)))


def test_no_other_token_is_believed(token_broker, keys):
    """Each for itself is refused, by the same code, and costs nobody else anything."""
    broker = token_broker()
    bystander = through_tunnel(broker, token(keys["rsa"]), "bystander")
    told = []
    for number, (what, *assertion) in enumerate(bad_tokens(keys)):
        try:
            through_tunnel(broker, assertion[0], f"bad{number}", expect=0x87)
        except AssertionError as error:
            told.append(f"{what}: {error}")
    assert not told, "\n".join(told)
    through_tunnel(broker, None, "none", expect=0x87)
    through_tunnel(broker, None, "old", mqtt.V311, NOT_AUTHORIZED[mqtt.V311], username="user",
                   password="right")
    bystander.ping()
    failures = audit_events(broker, "authentication_failed", 2 + number + 1)
    assert {event["address"] for event in failures} == {"203.0.113.7"}
    assert "token: it has expired" in {event["reason"] for event in failures}
    assert "eyJ" not in broker.log() + (broker.data / "audit" / "audit.log").read_text()


def test_a_name_that_would_widen_a_pattern_is_refused(token_broker, keys):
    broker = token_broker()
    for name in ("#", "+", "a/b", "ann/#"):
        through_tunnel(broker, token(keys["rsa"], email=name), expect=0x86)


def test_only_a_trusted_proxy_brings_a_token(token_broker, keys):
    broker = token_broker("password_file {dir}/passwords", "trusted_proxies 192.0.2.1")
    through_tunnel(broker, token(keys["rsa"]), expect=0x87)
    spoof, = audit_events(broker, "proxy_spoof", 1)
    assert spoof["means"] == "identity token" and spoof["address"].startswith("127.0.0.1")
    # a listener without a proxy is as it would be without Access
    broker.connect("direct", username="user", password="right")
    broker.client("wrong").connect(username="user", password="wrong", expect=0x86)
    broker.client("nobody").connect(expect=0x87)


@pytest.mark.parametrize("version", [mqtt.V311, mqtt.V5], ids=["v311", "v5"])
def test_the_connection_ends_with_its_token(token_broker, keys, version):
    broker = token_broker(JWT)
    end = int(time.time()) + 3
    web = through_tunnel(broker, token(keys["ec"], exp=end), "web", version, clean=False,
                         properties={"session_expiry_interval": 60} if version == mqtt.V5
                         else None)
    tcp = broker.connect("tcp", version, username="ann@example.org", password=token(
        keys["rsa"], exp=end, iss="https://issuer.example", aud="mqtt", sub="ann@example.org"))
    for client in (web, tcp):
        if version == mqtt.V5:
            client.expect(mqtt.DISCONNECT, reason=MAXIMUM_CONNECT_TIME)
        client.expect_closed()
        assert time.time() >= end
    through_tunnel(broker, token(keys["ec"], exp=end), "web", version,
                   NOT_AUTHORIZED[version])
    again = through_tunnel(broker, token(keys["ec"]), "web", version, clean=False)
    assert again.connack.session_present


def test_tokens_as_passwords(token_broker, keys):
    broker = token_broker(JWT + "password_file {dir}/passwords")
    mine = {"iss": "https://issuer.example", "aud": ["mqtt", "more"], "email": None, "type": None}
    good = token(keys["rsa"], **mine, sub="ann")
    for version in (mqtt.V311, mqtt.V5):
        owns(broker.connect("a", mqtt.V5, username="ann", password=good), "ann")
        broker.connect("b", version, username="user", password="right")
        wrong = BAD_CREDENTIALS[version]
        for user, password in (("bob", good), ("user", good), ("ann", "right"), ("ann", good[:-4]),
                               ("ann", token(keys["ec"], **mine, sub="ann")),
                               ("ann", token(keys["rsa"], **mine, sub="")),
                               ("ann", token(keys["rsa"], **{**mine, "aud": "web"}, sub="ann")),
                               ("ann@example.org", token(keys["rsa"]))):
            broker.client("c", version).connect(username=user, password=password, expect=wrong)
    owns(broker.connect("d", password=good), "ann")  # MQTT 5 may go without a name
    broker.client("e").connect(password=good[:-4], expect=0x86)
    through_tunnel(broker, None, "f", username="ann", password=good, expect=0x87)
    assert "eyJ" not in broker.log() + (broker.data / "audit" / "audit.log").read_text()


def test_another_claim_and_no_password_file(token_broker, keys):
    broker = token_broker(JWT + "jwt_user_claim preferred_username\nallow_anonymous true")
    mine = {"iss": "https://issuer.example", "aud": "mqtt"}
    owns(broker.connect("a", password=token(keys["rsa"], **mine, preferred_username="ann")), "ann")
    for password in (token(keys["rsa"], **mine), "no token"):
        broker.client("b").connect(password=password, expect=0x86)
    broker.client("c").connect(username="ann", expect=0x86)  # a name without proof
    broker.connect("d")  # nothing claimed, nothing shown


def test_keys_change_without_a_restart(token_broker, keys):
    """The old key's connections end, the others' do not; a bad file changes nothing."""
    broker = token_broker()
    old = through_tunnel(broker, token(keys["rsa"]), "old", clean=False,
                         properties={"session_expiry_interval": 60})
    kept = through_tunnel(broker, token(keys["ec"]), "kept")
    path = broker.folder / "access.json"
    for bad, says in (("", "is empty"), ("{", "is no JSON"), ("[]", "no list 'keys'"),
                      ('{"keys":[]}', "none of its 0 keys"),
                      (key_set(keys["rsa"].jwk(n="AQAB")), "2048 to 4096 bits"),
                      (key_set(keys["rsa"].jwk(d="AQAB")), "is a secret"),
                      (key_set(keys["rsa"], keys["rsa"]), "kid"),
                      (key_set(keys["rsa"].jwk(kid="")), "kid")):
        path.write_text(bad)
        answer = reload(broker, good=False)
        if says not in answer:
            broker.wait_for_log(says)
        old.ping()
    path.unlink()
    reload(broker, good=False)
    through_tunnel(broker, token(keys["rsa"]), "still")
    path.write_text(key_set(keys["ec"], keys["foreign"]))
    reload(broker)
    old.expect(mqtt.DISCONNECT, reason=0x87)
    kept.ping()
    through_tunnel(broker, token(keys["rsa"]), "old", expect=0x87)
    again = through_tunnel(broker, token(keys["foreign"]), "old", clean=False)
    assert again.connack.session_present
    broker.kill_process("authd")  # another one knows the same keys, and ends nobody
    broker.wait_replaced("authd")
    through_tunnel(broker, token(keys["foreign"]), "after")
    for client in (kept, again):
        client.ping()
    broker.write_config(options="access_audience third", listener_options=TRUSTED)
    reload(broker)  # what tokens are judged by has changed
    kept.expect(mqtt.DISCONNECT, reason=0x87)
    through_tunnel(broker, token(keys["ec"], aud="third"), "third")


@pytest.mark.parametrize("content,says", [
    (None, "access.json: No such file"), ("", "access.json is empty"),
    ("<html>", "access.json:1: is no JSON"), ('{"keys":[{"kty":"oct","k":"AA"}]}', "is a secret"),
    ('{"keys":[{"kty":"OKP","kid":"a"}]}', "none of its 1 keys")])
def test_no_start_without_keys(token_broker, content, says):
    broker = token_broker(started=False)
    if content is None:
        (broker.folder / "access.json").unlink()
    else:
        (broker.folder / "access.json").write_text(content)
    broker.launch()
    assert broker.wait_for_exit() != 0
    assert says in broker.log()
    broker.process = None


def test_fetched_keys_take_the_old_ones_place_only_if_they_are_keys(build, keys, tmp_path):
    """The host's script, with a curl that brings what the test has ready."""
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\n"
                    f"cp '{tmp_path}/served' \"$2\"\n")
    curl.chmod(0o755)
    there = tmp_path / "keys.json"
    environment = {"PATH": f"{tmp_path}:{ROOT / 'build' / build / 'ctl'}:/usr/bin:/bin",
                   "URL": "https://team.example/certs", "FILE": str(there)}

    def fetch(served):
        (tmp_path / "served").write_text(served)
        return subprocess.run([ROOT / "compose/host/fetch-keys.sh"], env=environment, check=False,
                              capture_output=True, text=True, timeout=60)

    first = key_set(keys["rsa"], keys["ec"])
    done = fetch(first)
    assert done.returncode == 0 and there.read_text() == first
    assert "RS256  first" in done.stdout and "ES256  second" in done.stdout
    assert there.stat().st_mode & 0o777 == 0o644
    for bad in ("", "<html>sorry</html>", '{"keys":[]}', first[:-40]):
        done = fetch(bad)
        assert done.returncode != 0 and "bulkheadctl: " in done.stderr
        assert there.read_text() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curl", "keys.json", "served"]
