"""The forms that string arguments may have. Pure: nothing is coerced, trimmed or looked up.

Spec: scaivault 1 (shorthands), 10 (B05–B09).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from scaimcp.scaivault import paths

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9.-]{1,253})", re.ASCII)
_VISIBLE = re.compile(r"[\x21-\x7e]{1,2048}")
_MOST_DNS = 253


class FormRule(msgspec.Struct, frozen=True):
    """One form.

    Args:
        fits: whether a string is of this form.
        words: what it must be, for messages.
        pattern: for the schema; "" for none.
        most: most characters.
    """

    fits: Callable[[str], bool]
    words: str
    pattern: str = ""
    most: int = 512


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration such as ``90d``.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError("not a duration")
    return int(found[1]) * _UNITS[found[2]]


def moment_of(text: str) -> datetime:
    """Return, in UTC, a moment written as in RFC 3339, which has a zone.

    Raises:
        ValueError: it is none, such as 31 February, or in UTC outside of the years 1 to 9999.
    """
    if not _TIME.fullmatch(text):
        raise ValueError("not a time")
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time") from None


def is_duration(text: str) -> bool:
    """Tell whether a text is a duration such as ``90d``."""
    return _DURATION.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Tell whether a text is a moment with a zone."""
    try:
        moment_of(text)
    except ValueError:
        return False
    return True


def is_ip(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_cidr(text: str) -> bool:
    """Tell whether a text is a network such as ``10.0.0.0/8``."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text and "%" not in text


def is_dns(text: str) -> bool:
    """Tell whether a text is a DNS name, on its left perhaps ``*.``; addresses are none."""
    name = text.removeprefix("*.")
    if not name or len(text) > _MOST_DNS or is_ip(text):
        return False
    labels = name.split(".")
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def is_email(text: str) -> bool:
    """Tell whether a text is a plain address of electronic mail."""
    found = _EMAIL.fullmatch(text)
    return found is not None and "." in found[1] and is_dns(found[1])


def is_https_url(text: str) -> bool:
    """Tell whether a text is an ``https`` URL without a user part or a fragment."""
    if not _VISIBLE.fullmatch(text) or "\\" in text or "#" in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    is_host = is_dns(host) or is_ip(host)
    return parts.scheme == "https" and is_host and "@" not in parts.netloc and port != 0


FORMS: Mapping[str, FormRule] = {
    "path": FormRule(lambda text: paths.read_path(text) is not None, "a path", paths.PATH_PATTERN),
    "prefix": FormRule(
        lambda text: paths.read_prefix(text) is not None,
        "a path prefix",
        paths.PREFIX_PATTERN,
        paths.MOST_CHARS + 1,
    ),
    "glob": FormRule(
        lambda text: paths.read_glob(text) is not None,
        "a path, in which * ? and the segment ** may stand",
        paths.GLOB_PATTERN,
    ),
    "id": FormRule(
        lambda text: paths.read_id(text) is not None,
        "an id of letters, digits and _ . : @ -",
        paths.ID_PATTERN,
        128,
    ),
    "name": FormRule(
        lambda text: paths.read_name(text) is not None,
        "a name of letters, digits, _ and -",
        paths.NAME_PATTERN,
        64,
    ),
    "identity": FormRule(
        paths.is_identity,
        "user, sa, group, system or dynamic, a colon and a name",
        paths.IDENTITY_PATTERN,
        136,
    ),
    "duration": FormRule(
        is_duration, "a number and s, m, h or d, such as 90d", "^[1-9][0-9]{0,5}[smhd]$", 7
    ),
    "time": FormRule(is_time, "a time with a zone, such as 2026-04-22T14:30:00Z", "", 64),
    "dns": FormRule(is_dns, "a DNS name", "", _MOST_DNS),
    "ip": FormRule(is_ip, "an IP address", "", 45),
    "cidr": FormRule(is_cidr, "a network such as 10.0.0.0/8", "", 49),
    "email": FormRule(is_email, "an e-mail address", "", 318),
    "url": FormRule(is_https_url, "an https URL without a user part", "^https://", 2_048),
}
# What has one of these forms is judged in a step of its own, with a code of its own.
PATH_FORMS = frozenset({"path", "prefix"})
