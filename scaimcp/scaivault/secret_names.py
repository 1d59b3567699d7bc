"""Which keys are named like secrets. Pure. Spec: scaivault 2.5 (sweep)."""

from __future__ import annotations

import re

_WORDS = (
    "password", "passwd", "secret", "token", "private_key", "key_pem", "api_key", "credential",
    "connection_url", "authorization",
)  # fmt: skip
_ANY_WORD = re.compile("|".join(_WORDS))
_HARMLESS_ENDS = ("_id", "_path", "_at", "_type", "_count")
_PRIVATE_KEY = "PRIVATE KEY-----"


def names_secret(key: str) -> bool:
    """Tell whether a key is named like one that holds a secret; ``secret_path`` is not."""
    lowered = key.lower()
    if lowered.endswith(_HARMLESS_ENDS):
        return False
    return _ANY_WORD.search(lowered) is not None


def holds_private_key(text: str) -> bool:
    """Tell whether a text holds a private key in PEM, of whatever kind."""
    return _PRIVATE_KEY in text


def encodes_private_key(encoded: bytes) -> bool:
    """Tell the same of JSON, of all its texts and names at once."""
    return _PRIVATE_KEY.encode() in encoded
