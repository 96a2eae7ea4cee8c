"""Guessing passwords costs the guesser time, and the broker nothing."""
import base64
import hashlib

from lib.broker import DEFAULT_CONFIG

CONFIG = DEFAULT_CONFIG.replace("allow_anonymous true", "password_file {dir}/passwords")
WRONG = {3: 4, 4: 4, 5: 0x86}


def password_line(user, password):
    """As mosquitto_passwd writes it."""
    salt = b"twelve bytes"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def test_wrong_passwords_hurt_nobody(new_broker, version):
    broker = new_broker(started=False, config=CONFIG, options="auth_failure_delay 0s")
    (broker.folder / "passwords").write_text(password_line("user", "right"))
    broker.start()
    bystander = broker.connect("bystander", version, username="user", password="right")
    for user, password in (("user", "wrong"), ("user", ""), ("stranger", "right"),
                           ("user", "wrong again")):
        client = broker.client("guesser", version)
        client.connect(username=user, password=password, expect=WRONG[version])
    bystander.ping()
    broker.connect("guesser", version, username="user", password="right")
