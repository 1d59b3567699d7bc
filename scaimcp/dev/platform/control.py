"""The control surface `/__standin/…`: loopback only, outside all platform rules.

Spec: scaigrid 12. Beyond the contract: clearing the call log, the rate-limit switch at run time,
and reading and patching rows, by which tests reach states no endpoint leads to.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from scaimcp.dev.platform.answer import JSON, Answer, Scope, encoder
from scaimcp.dev.platform.errors import PlatformError, invalid, not_found
from scaimcp.dev.platform.identity import digest_of
from scaimcp.dev.platform.minting import MintRequest, mint
from scaimcp.dev.platform.state import Platform

ROOT = b"/__standin/"
Result = object | None


class Shift(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST clock."""

    seconds: float


class Revocation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST tokens/revoke: the key or JWT itself."""

    token: str


class Switch(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT rate-limits."""

    enabled: bool


T = TypeVar("T")


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as problem:
        raise invalid(("body", str(problem))) from None


class Control:
    """Answer the control surface."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._routes: dict[tuple[str, str], Callable[[Scope, bytes], Result]] = {
            ("PUT", "faults"): self._put_faults,
            ("DELETE", "faults"): self._delete_faults,
            ("POST", "tokens"): self._mint,
            ("POST", "tokens/revoke"): self._revoke,
            ("POST", "clock"): self._shift,
            ("POST", "reset"): self._reset,
            ("GET", "calls"): self._calls,
            ("DELETE", "calls"): self._clear_calls,
            ("PUT", "rate-limits"): self._rate_limits,
        }

    def answer(self, scope: Scope, body: bytes) -> Answer:
        """Return the answer to one control request.

        Raises:
            PlatformError: `NOT_FOUND` for another path or a caller that is not on loopback,
                `VALIDATION_ERROR` for a body that does not fit.
        """
        path = scope["raw_path"].decode("latin-1")[len(ROOT) :]
        if not _on_loopback(scope):
            raise PlatformError("NOT_FOUND", "There is no such path.")
        handler = self._routes.get((scope["method"], path))
        if handler is None and path.startswith("rows/"):
            handler = {"GET": self._read_rows, "PATCH": self._patch_row}.get(scope["method"])
        if handler is None:
            raise PlatformError("NOT_FOUND", "There is no such path.")
        result = handler(scope, body)
        if result is None:
            return Answer(204, [], b"")
        return Answer(200, [(b"content-type", JSON)], encoder.encode(result))

    def _put_faults(self, scope: Scope, body: bytes) -> Result:
        decoded = _read(body, object)
        rules = decoded.get("rules") if isinstance(decoded, dict) else decoded
        return {"rules": self._platform.faults.replace(rules)}

    def _delete_faults(self, scope: Scope, body: bytes) -> Result:
        self._platform.faults.clear()
        return None

    def _mint(self, scope: Scope, body: bytes) -> Result:
        host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
        origin = self._platform.config.public_url or f"{scope['scheme']}://{host}"
        return mint(self._platform, _read(body, MintRequest), origin)

    def _revoke(self, scope: Scope, body: bytes) -> Result:
        token = _read(body, Revocation).token
        self._platform.store["revoked"].insert({"digest": digest_of(token)})
        return None

    def _shift(self, scope: Scope, body: bytes) -> Result:
        self._platform.clock.shift(_read(body, Shift).seconds)
        return {"now": self._platform.clock.iso()}

    def _reset(self, scope: Scope, body: bytes) -> Result:
        self._platform.reset()
        return None

    def _calls(self, scope: Scope, body: bytes) -> Result:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        path, method = query.get("path", [""])[0], query.get("method", [""])[0]
        return {"calls": self._platform.calls.read(path, method)}

    def _clear_calls(self, scope: Scope, body: bytes) -> Result:
        self._platform.calls.clear()
        return None

    def _rate_limits(self, scope: Scope, body: bytes) -> Result:
        self._platform.limiter.enabled = _read(body, Switch).enabled
        self._platform.limiter.clear()
        return {"enabled": self._platform.limiter.enabled}

    def _read_rows(self, scope: Scope, body: bytes) -> Result:
        table, _, row_id = self._place(scope)
        found = self._platform.store.tables.get(table)
        if found is None:
            raise not_found("TABLE")
        if not row_id:
            return {"rows": found.all()}
        row = found.get(row_id)
        if row is None:
            raise not_found("ROW")
        return row

    def _patch_row(self, scope: Scope, body: bytes) -> Result:
        table, _, row_id = self._place(scope)
        found = self._platform.store.tables.get(table)
        if found is None or found.get(row_id) is None:
            raise not_found("ROW")
        return found.update(row_id, _read(body, dict[str, Any]))

    @staticmethod
    def _place(scope: Scope) -> tuple[str, str, str]:
        path: str = scope["raw_path"].decode("latin-1")
        return path[len(ROOT) + len("rows/") :].partition("/")


def _on_loopback(scope: Scope) -> bool:
    try:
        return ipaddress.ip_address(scope["client"][0]).is_loopback
    except (TypeError, ValueError, KeyError):
        return False
