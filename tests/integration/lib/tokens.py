"""Signing keys, key sets and identity tokens (JWT), made with the openssl command."""
import base64
import json
import subprocess
import time

ISSUER = "https://team.cloudflareaccess.com"
AUDIENCE = "32eafc7626e737f4"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True,
                          check=True, timeout=60).stdout


def raw_signature(der):
    """The two numbers of an ECDSA signature, 32 bytes each."""
    numbers = []
    at = 2
    for _ in range(2):
        size = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + size], "big"))
        at += 2 + size
    return b"".join(number.to_bytes(32, "big") for number in numbers)


class Key:
    """A key pair in a file; `kind` is RSA or EC."""

    def __init__(self, folder, kid, kind="RSA"):
        self.kid = kid
        self.kind = kind
        self.path = folder / f"{kid}.pem"
        option = "rsa_keygen_bits:2048" if kind == "RSA" else "ec_paramgen_curve:P-256"
        openssl("genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", self.path)

    @property
    def algorithm(self):
        return "RS256" if self.kind == "RSA" else "ES256"

    def public_pem(self):
        return openssl("pkey", "-in", self.path, "-pubout")

    def jwk(self, **more):
        """As Cloudflare lists its keys, with a member that nobody here uses."""
        jwk = {"kid": self.kid, "use": "sig", "alg": self.algorithm, "kty": self.kind,
               "x5c": ["unused"]}
        if self.kind == "RSA":
            modulus = openssl("rsa", "-in", self.path, "-noout", "-modulus")
            jwk["n"] = base64url(bytes.fromhex(modulus.decode().strip().split("=")[1]))
            jwk["e"] = "AQAB"
        else:
            point = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-64:]
            jwk.update(crv="P-256", x=base64url(point[:32]), y=base64url(point[32:]))
        return {**jwk, **more}

    def sign(self, text):
        signature = openssl("dgst", "-sha256", "-sign", self.path, data=text.encode())
        return signature if self.kind == "RSA" else raw_signature(signature)


def key_set(*keys):
    return json.dumps({"keys": [key if isinstance(key, dict) else key.jwk() for key in keys],
                       "public_cert": {"kid": "x", "cert": "unused"}})


def claims(life=600, **more):
    """What Access says of a person; None leaves a claim out."""
    now = int(time.time())
    said = {"aud": [AUDIENCE], "email": "ann@example.org", "exp": now + life, "iat": now,
            "nbf": now, "iss": ISSUER, "type": "app", "sub": "7335d417", "country": "DE", **more}
    return {name: value for name, value in said.items() if value is not None}


def compact(header, payload, sign):
    """A token of these texts or objects; `sign` makes the signature from the first two parts."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    text = ".".join(base64url(part.encode()) for part in parts)
    return f"{text}.{base64url(sign(text))}"


def token(key, payload=None, header=None, **more):
    """A good token unless told otherwise: `more` are claims."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
    return compact(header, payload if payload is not None else claims(**more), key.sign)
