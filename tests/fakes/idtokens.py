"""ID tokens of a made-up identity provider, right ones and wrong ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

ISSUER = "https://id.example"
CLIENT = "gateway"
NONCE = "n" * 43
USER = "usr_ada"
NOW = 1_800_000_000.0
AnyKey = RSAKey | ECKey | OctKey


@cache
def rsa(kid: str = "r1") -> RSAKey:
    """A key that lives as long as the process: making one takes a while."""
    return RSAKey.generate_key(2048, parameters={"kid": kid, "use": "sig"})


@cache
def elliptic(kid: str = "e1") -> ECKey:
    return ECKey.generate_key("P-256", parameters={"kid": kid, "use": "sig"})


def claims(**changed: Any) -> dict[str, Any]:
    """What a right token says; None leaves a claim out."""
    base = {
        "iss": ISSUER, "sub": USER, "aud": CLIENT, "nonce": NONCE,
        "iat": int(NOW), "exp": int(NOW) + 300, **changed,
    }  # fmt: skip
    return {name: value for name, value in base.items() if value is not None}


def signed(said: dict[str, Any], key: AnyKey | None = None, **header: Any) -> str:
    """Sign what a token says, by default as the platform does."""
    key = rsa() if key is None else key
    algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[key.key_type]
    given = {"alg": algorithm, "kid": key.kid, **header}
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, said, key, algorithms=[kept["alg"]])


def key_set(*keys: AnyKey) -> bytes:
    """The public halves, as a JWK set."""
    return msgspec.json.encode({"keys": [key.as_dict(private=False) for key in keys]})
