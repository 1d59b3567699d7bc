"""The control surface `/__standin/…`, outside all rules of the vault. Spec: scaivault 7."""

from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.dev.vault.delivery import JSON, Answer, encode
from scaimcp.dev.vault.faults import Fault
from scaimcp.dev.vault.state import Identity, Vault

ROOT = "/__standin/"


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST clock."""

    seconds: float


class Scale(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT rate-limits; null stops counting."""

    scale: float | None


class Switch(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT identity-admin."""

    enabled: bool


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT tokens: a further `skt_` token, or another identity for a known one."""

    token: str
    identity: Identity


def _advance(vault: Vault, body: bytes) -> None:
    vault.clock.shift(msgspec.json.decode(body, type=Advance).seconds)


def _queue(vault: Vault, body: bytes) -> None:
    for fault in msgspec.json.decode(body, type=list[Fault]):
        vault.faults.add(fault)


def _scale(vault: Vault, body: bytes) -> None:
    vault.limits.scale = msgspec.json.decode(body, type=Scale).scale


def _switch(vault: Vault, body: bytes) -> None:
    vault.identity_admin = msgspec.json.decode(body, type=Switch).enabled


def _add_token(vault: Vault, body: bytes) -> None:
    new = msgspec.json.decode(body, type=NewToken)
    vault.tokens[new.token] = new.identity
    vault.tenant(new.identity.tenant_id, new.identity.partner_id)


COMMANDS: dict[tuple[str, str], Callable[[Vault, bytes], Any]] = {
    ("POST", "clock"): _advance,
    ("POST", "faults"): _queue,
    ("DELETE", "faults"): lambda vault, body: vault.faults.clear(),
    ("GET", "calls"): lambda vault, body: {"calls": vault.calls},
    ("DELETE", "calls"): lambda vault, body: vault.calls.clear(),
    ("PUT", "rate-limits"): _scale,
    ("PUT", "identity-admin"): _switch,
    ("PUT", "tokens"): _add_token,
    ("POST", "reset"): lambda vault, body: vault.reset(),
}


def control(vault: Vault, method: str, name: str, body: bytes) -> Answer:
    """Return the answer to one control request: 204, JSON, 404, or 422 with the reason."""
    command = COMMANDS.get((method, name))
    if command is None:
        return Answer(404, [], b"")
    try:
        result = command(vault, body)
    except (msgspec.DecodeError, msgspec.ValidationError) as problem:
        return Answer(422, [], str(problem).encode())
    return Answer(204, [], b"") if result is None else Answer(200, [JSON], encode(result))
