"""Rules over several arguments of one call. Pure. Spec: scaivault 1 (cross-field rules)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.secret_names import holds_private_key, names_secret
from scaimcp.scaivault.values import is_https_url, moment_of, seconds_of

Fault = tuple[str, str]
Arguments = Mapping[str, Any]
LONGEST_SPAN = timedelta(days=366)
_YEAR = 365 * 86_400
_BLOCK = "-----BEGIN CERTIFICATE-----"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLACEHOLDER = re.compile(r"\{\{(?:username|password)\}\}")
# Stands for a placeholder: no login has it.
_FILLED = "\x00"
_LOGIN_KEY = re.compile(
    r"(?:^|[?&;,\s])(?:user(?:[ _]?(?:name|id))?|uid|pass(?:word|wd)?|pwd)\s*=\s*([^&;,\s]+)",
    re.IGNORECASE,
)
_KEY_SIZES: Mapping[str, tuple[int, ...]] = {"rsa": (2_048, 4_096), "ec": (256, 384)}


def cross_faults(record: ToolRecord, complete: Arguments, given: Arguments) -> list[Fault]:
    """Return what does not fit together.

    Args:
        record: the tool.
        complete: arguments with defaults; each fits by itself, but for the grammar of paths.
        given: arguments as the client sent them.
    """
    rule = _RULES.get(record.code)
    return [] if rule is None else list(rule(complete, given))


def span_faults(begin: datetime, end: datetime) -> Iterator[Fault]:
    """Yield what is wrong with a span of time."""
    if begin >= end:
        yield "from", "must be before to"
    elif end - begin > LONGEST_SPAN:
        yield "from", "must be at most 366 days before to"


def _delete(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    if complete["permanent"] and complete.get("confirm") != complete["path"]:
        yield "confirm", "must repeat path where permanent is true"


def _account(_: Arguments, given: Arguments) -> Iterator[Fault]:
    if not given.keys() & {"name", "description", "scopes", "status"}:
        yield "name", "at least one of name, description, scopes and status is required"


def _api_key(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    if seconds_of(complete["expires_in"]) > _YEAR:
        yield "expires_in", "must be at most 365d"


def _order(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    is_dns = complete["challenge_type"] == "dns-01"
    if not is_dns and any(domain.startswith("*.") for domain in complete["domains"]):
        yield "challenge_type", "must be dns-01 for a wildcard domain"
    if is_dns and "dns_provider_id" not in complete:
        yield "dns_provider_id", "is required for dns-01"


def _acme_account(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    if (complete["provider"] == "custom") != ("directory_url" in complete):
        yield "directory_url", "is required for the provider custom, and only for it"


def _root_ca(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    sizes = _KEY_SIZES[complete["key_type"]]
    if complete.get("key_size", sizes[0]) not in sizes:
        yield "key_size", f"must be {sizes[0]} or {sizes[1]} for this key_type"


def _lives(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    usual, longest = complete.get("default_ttl"), complete.get("max_ttl")
    if usual is not None and longest is not None and seconds_of(usual) > seconds_of(longest):
        yield "default_ttl", "must not be longer than max_ttl"


def _engine(complete: Arguments, given: Arguments) -> Iterator[Fault]:
    yield from _lives(complete, given)
    if _has_login(complete["config"].get("connection_url", "")):
        yield "config.connection_url", "must hold {{username}} and {{password}}, no login"


def _has_login(url: str) -> bool:
    """Tell whether a URL or a connection string holds a login that is not a placeholder.

    A password may hold ``/``, ``?`` and ``@``, so all before the last ``@`` counts as a login.
    """
    plain = unquote(_PLACEHOLDER.sub(_FILLED, url))
    user = (plain.partition("://")[2] or plain).rpartition("@")[0]
    try:
        urlsplit(plain)
    except ValueError:
        return True
    values = (user.replace(":", ""), *_LOGIN_KEY.findall(plain))
    return any(value.strip(_FILLED) for value in values)


def _rotation(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    if seconds_of(complete["grace_period"]) >= seconds_of(complete["interval"]):
        yield "grace_period", "must be shorter than interval"


def _span(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    if "from" in complete and "to" in complete:
        yield from span_faults(moment_of(complete["from"]), moment_of(complete["to"]))


def _certificate(_: Arguments, given: Arguments) -> Iterator[Fault]:
    if ("certificate_id" in given) == ("certificate_pem" in given):
        yield "certificate_id", "exactly one of certificate_id and certificate_pem is required"
    text = given.get("certificate_pem")
    if text is None:
        return
    if holds_private_key(text):
        yield "certificate_pem", "must not hold a private key"
    elif text.count(_BLOCK) != 1:
        yield "certificate_pem", "must hold one certificate"


def _backend(complete: Arguments, given: Arguments) -> Iterator[Fault]:
    for name, value in complete["config"].items():
        if names_secret(name):
            yield "config", "takes logins as *_path, the path of a secret, never as values"
        elif name == "endpoint" and not (isinstance(value, str) and is_https_url(value)):
            yield "config.endpoint", "must be an https URL without a user part"
    for number, template in enumerate(complete["path_mapping"].values()):
        if ".." in template or _CONTROL.search(template):
            yield f"path_mapping[{number}]", "must not hold .. or a control character"
    if complete["mode"] != "sync" and "sync_interval" in given:
        yield "sync_interval", "is for the mode sync only"


def _subscription(complete: Arguments, _: Arguments) -> Iterator[Fault]:
    delivery = complete["delivery"]
    if (delivery["type"] == "webhook") != ("url" in delivery):
        yield "delivery.url", "is required for a webhook, and only for one"


_RULES: Mapping[str, Callable[[Arguments, Arguments], Iterator[Fault]]] = {
    "S3": _delete,
    "RO2": _rotation,
    "SA4": _account,
    "SA6": _api_key,
    "PK3": _root_ca,
    "PK8": _certificate,
    "AC2": _acme_account,
    "AC4": _order,
    "AC6": _order,
    "DY3": _engine,
    "DY5": _lives,
    "FE3": _backend,
    "SU3": _subscription,
    "AU1": _span,
    "AU2": _span,
    "AU4": _span,
}
