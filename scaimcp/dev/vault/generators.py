"""Values that secret policies generate; keys and chance are the system's. Spec: scaivault 7.

`bcrypt_hash` gives a scrypt hash in its usual text form, with `hash_type` saying so: bcrypt itself
would need a dependency of its own.
"""

import base64
import hashlib
import re
import secrets
import string
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from scaimcp.dev.vault.errors import invalid
from scaimcp.dev.vault.state import Vault
from scaimcp.dev.vault.x509 import new_key, private_pem, public_pem

Config = Mapping[str, Any]
LETTERS_AND_DIGITS = string.ascii_letters + string.digits
SYMBOLS = "-_.~!@#%^*+="
CHARSETS = {
    "alphanumeric": LETTERS_AND_DIGITS,
    "alpha": string.ascii_letters,
    "numeric": string.digits,
    "hex": "0123456789abcdef",
    "safe": LETTERS_AND_DIGITS + SYMBOLS,
    "full": LETTERS_AND_DIGITS + string.punctuation,
}
REQUIRED = {
    "require_upper": string.ascii_uppercase,
    "require_lower": string.ascii_lowercase,
    "require_digit": string.digits,
    "require_symbol": SYMBOLS,
}
CURVES = {"P-256": 256, "P-384": 384}
PLACEHOLDER = re.compile(r"\{\{(?:(random|hex):([1-9][0-9]{0,2})|(uuid|timestamp))\}\}")

_YES_NO = (False, True)
# None takes any value; a key that is not here is refused.
RULES: Mapping[str, Mapping[str, Container[Any] | None]] = {
    "random": {
        "length": range(4, 1025),
        "charset": tuple(CHARSETS),
        **dict.fromkeys(REQUIRED, _YES_NO),
    },
    "hex": {"length": range(1, 1025)},
    "uuid": {"version": (4, 7)},
    "template": {"template": None},
    "rsa_keypair": {"bits": (2048, 4096)},
    "ec_keypair": {"curve": tuple(CURVES)},
    "ssh_keypair": {"key_type": ("ed25519", "rsa"), "comment": None},
    "bcrypt_hash": {"length": range(4, 1025), "rounds": range(4, 15)},
    "static": {"value": None},
}
NEEDED = {"template": "template", "static": "value"}


def check(fields: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a policy's fields that cannot generate; a field is name, generator and config.

    Raises:
        Refusal: 422 `validation_error` naming the first wrong one.
    """
    for number, field in enumerate(fields):
        where, generator, config = f"fields[{number}]", field["generator"], field["config"]
        if generator not in RULES:
            invalid(f"{where}.generator", "must be one of " + ", ".join(RULES))
        needed = NEEDED.get(generator)
        if needed is not None and needed not in config:
            invalid(f"{where}.config.{needed}", "is required")
        for key, value in config.items():
            rule = RULES[generator].get(key, ())
            if rule is not None and value not in rule:
                invalid(f"{where}.config.{key}", "is not a setting of this generator")


def generate(vault: Vault, policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new value for each field of a secret policy; a key pair is an object."""
    now = vault.clock.now()
    return {
        field["name"]: MAKERS[field["generator"]](field["config"], now)
        for field in policy["fields"]
    }


def random_text(length: int, charset: str = "alphanumeric") -> str:
    """Return random characters of a named set, from the system's source."""
    return "".join(secrets.choice(CHARSETS[charset]) for _ in range(length))


def _random(config: Config, _: float) -> str:
    forced = [secrets.choice(pool) for name, pool in REQUIRED.items() if config.get(name)]
    free = config.get("length", 32) - len(forced)
    mixed = [*forced, *random_text(free, config.get("charset", "alphanumeric"))]
    secrets.SystemRandom().shuffle(mixed)
    return "".join(mixed)


def _hex(config: Config, _: float) -> str:
    return random_text(config.get("length", 32), "hex")


def _uuid(config: Config, now: float) -> str:
    version = config.get("version", 4)
    number = secrets.randbits(128)
    if version == 7:
        number = int(now * 1000) << 80 | number & (1 << 80) - 1
    number = number & ~(0xF << 76) | version << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def _template(config: Config, now: float) -> str:
    def fill(match: re.Match[str]) -> str:
        name, length, plain = match.groups()
        if name is not None:
            return random_text(int(length), "hex" if name == "hex" else "alphanumeric")
        return str(int(now)) if plain == "timestamp" else _uuid({}, now)

    return PLACEHOLDER.sub(fill, str(config["template"]))


def _rsa(config: Config, _: float) -> dict[str, str]:
    key = new_key("rsa", config.get("bits", 2048))
    return {"private_key": private_pem(key), "public_key": public_pem(key)}


def _ec(config: Config, _: float) -> dict[str, str]:
    key = new_key("ec", CURVES[config.get("curve", "P-256")])
    return {"private_key": private_pem(key), "public_key": public_pem(key)}


def _ssh(config: Config, _: float) -> dict[str, str]:
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = (
        rsa.generate_private_key(65537, 3072)
        if config.get("key_type") == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    shown = f"{public.decode()} {config.get('comment', '')}".strip()
    return {"private_key": private.decode(), "public_key": shown}


def _hash(config: Config, _: float) -> dict[str, str]:
    password = random_text(config.get("length", 32))
    rounds = config.get("rounds", 12)
    salt = secrets.token_bytes(16)
    size = 1 << rounds
    # scrypt takes 1 KiB for each unit of its cost; the limit of OpenSSL's own would refuse 2^15.
    digest = hashlib.scrypt(password.encode(), salt=salt, n=size, r=8, p=1, maxmem=size * 2048)
    parts = (base64.b64encode(part).decode().rstrip("=") for part in (salt, digest))
    text = f"$scrypt$ln={rounds},r=8,p=1$" + "$".join(parts)
    return {"password": password, "hash": text, "hash_type": "scrypt"}


def _static(config: Config, _: float) -> Any:
    return config["value"]


MAKERS: Mapping[str, Callable[[Config, float], Any]] = {
    "random": _random,
    "hex": _hex,
    "uuid": _uuid,
    "template": _template,
    "rsa_keypair": _rsa,
    "ec_keypair": _ec,
    "ssh_keypair": _ssh,
    "bcrypt_hash": _hash,
    "static": _static,
}
