"""One request as handlers see it."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from scaimcp.dev.vault.errors import invalid, refuse
from scaimcp.dev.vault.state import Identity, Tenant, Vault

T = TypeVar("T")
FLAGS = {"true": True, "false": False}


class Call:
    """A request whose route is known.

    Attributes:
        params: path parameters, percent-decoded; `raw_path` is the path as sent.
        query: the last value of each name.
        identity: who calls; set before handlers of other than open routes run.
        tenant: whose data the call sees, likewise; `known` says that both are set.
        secret_path: written into the audit row.
        extra: `extra_data` of the audit row.
    """

    identity: Identity
    tenant: Tenant
    known = False

    def __init__(self, vault: Vault, method: str, raw_path: str, params: Mapping[str, str]) -> None:
        self.vault = vault
        self.method = method
        self.raw_path = raw_path
        self.params = params
        self.query: Mapping[str, str] = {}
        self.headers: Mapping[str, str] = {}
        self.content = b""
        self.request_id = ""
        self.source_ip = ""
        self.secret_path: str | None = None
        self.extra: dict[str, Any] = {}
        self.now = vault.clock.now()

    def read(self, kind: type[T]) -> T:
        """Return the JSON body; a missing one is the empty object.

        Raises:
            Refusal: 400 `invalid_request` for bad JSON or no object, 422 `validation_error`.
        """
        try:
            decoded = msgspec.json.decode(self.content or b"{}")
        except msgspec.DecodeError:
            decoded = None
        if not isinstance(decoded, dict):
            refuse(400, "invalid_request", "The body must be a JSON object.")
        try:
            return msgspec.convert(decoded, kind)
        except msgspec.ValidationError as problem:
            text, _, where = str(problem).partition(" - at `$")
            invalid(where.strip("`.") or "body", text)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean of the query.

        Raises:
            Refusal: 422 `validation_error`.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if text not in FLAGS:
            invalid(name, "must be true or false")
        return FLAGS[text]

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Return an integer of the query.

        Raises:
            Refusal: 422 `validation_error` outside lowest..highest.
        """
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            invalid(name, f"must be an integer from {lowest} to {highest}")
        return int(text)
