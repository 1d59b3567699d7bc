"""Values that nobody may see, and whether a text shows one of them in any form."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

_SHORTEST = 6


def _in_base64(value: bytes) -> set[str]:
    """Return what base64 makes of a value wherever it begins in a longer text."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value).decode()
        # The characters at both ends depend on the neighbours as well.
        first, last = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        found |= {encoded[first:last], encoded[first:last].translate({43: "-", 47: "_"})}
    return found


def forms_of(value: str) -> set[str]:
    """Return a value as it is, JSON-escaped once and twice, URL-encoded, and in base64."""
    escaped = json.dumps(value)[1:-1]
    unescaped = json.dumps(value, ensure_ascii=False)[1:-1]
    forms = {
        value, escaped, unescaped, json.dumps(escaped)[1:-1], json.dumps(unescaped)[1:-1],
        quote(value), quote(value, safe=""), quote_plus(value), value.encode().hex(),
    }  # fmt: skip
    return {form for form in forms | _in_base64(value.encode()) if len(form) >= _SHORTEST}


@dataclass
class Markers:
    """Knows every secret value by where it was put."""

    _forms: dict[str, set[str]] = field(default_factory=dict)

    def core(self, place: str) -> str:
        """Return letters and digits that stand for a place, whatever is done to the rest."""
        core = "Leak" + hashlib.sha256(place.encode()).hexdigest()[:20]
        self._forms.setdefault(place, forms_of(core))
        return core

    def text(self, place: str) -> str:
        """Return a value that every encoding changes, so that each has its own form to find."""
        text = f'~"{self.core(place)}"/+ \u00e9'
        self._forms[place] |= forms_of(text)
        return text

    def pem(self, place: str) -> str:
        """Return what looks like a private key."""
        return f"-----BEGIN PRIVATE KEY-----\n{self.core(place)}\n-----END PRIVATE KEY-----\n"

    def learn(self, place: str, *values: str) -> None:
        """Take values that were made elsewhere; of a PEM every line is one."""
        lines = [line for value in values for line in value.splitlines() if "-----" not in line]
        known = self._forms.setdefault(place, set())
        known.update(*(forms_of(line) for line in lines))

    def found_in(self, text: str) -> set[str]:
        """Return the places whose value a text shows."""
        return {place for place, forms in self._forms.items() if any(f in text for f in forms)}
