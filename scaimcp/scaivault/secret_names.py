"""Which keys are named like secrets. Pure. Spec: scaivault 2.5 (sweep)."""

from __future__ import annotations

_WORDS = (
    "password", "passwd", "secret", "token", "private_key", "key_pem", "api_key", "credential",
    "connection_url", "authorization",
)  # fmt: skip
_HARMLESS_ENDS = ("_id", "_path", "_at", "_type", "_count")
_PRIVATE_KEY = "PRIVATE KEY-----"


def names_secret(key: str) -> bool:
    """Tell whether a key is named like one that holds a secret; ``secret_path`` is not."""
    lowered = key.lower()
    if lowered.endswith(_HARMLESS_ENDS):
        return False
    return any(word in lowered for word in _WORDS)


def holds_private_key(text: str) -> bool:
    """Tell whether a text holds a private key in PEM, of whatever kind."""
    return _PRIVATE_KEY in text
