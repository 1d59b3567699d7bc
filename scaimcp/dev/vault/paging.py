"""Lists in pages. Spec: scaivault 8 (second table)."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import Refusal

DEFAULT_LIMIT = 50
HIGHEST_LIMIT = 1000


def page(
    call: Call,
    rows: Sequence[dict[str, Any]],
    container: str,
    key: str = "id",
    default: int = DEFAULT_LIMIT,
) -> Any:
    """Return one page of rows by the query's `limit` and `cursor`.

    Args:
        call: the request.
        rows: every row, in the list's order.
        container: documented name of the array; `VaultConfig.containers` may rename it.
        key: field that tells rows apart; the cursor names the last row given.
        default: limit where the query has none.

    Raises:
        Refusal: 400 `invalid_cursor`, 422 `validation_error`.
    """
    config = call.vault.config
    name = config.containers.get(container, container)
    if not name:
        return list(rows)
    limit = call.number("limit", default, 1, HIGHEST_LIMIT)
    start = _start(call, rows, container, key)
    shown = rows[start : start + limit]
    has_more = len(rows) > start + limit
    cursor = _seal(f"{container}:{shown[-1][key]}") if has_more else None
    return {name: shown, "has_more": has_more, config.cursor_field: cursor}


def numbered(call: Call, rows: Sequence[dict[str, Any]], container: str) -> Any:
    """Return one page of rows by the query's `page` and `page_size`.

    Raises:
        Refusal: 422 `validation_error`.
    """
    number = call.number("page", 1, 1, 1_000_000)
    size = call.number("page_size", DEFAULT_LIMIT, 1, HIGHEST_LIMIT)
    name = call.vault.config.containers.get(container, container)
    shown = rows[(number - 1) * size : number * size]
    return {name: shown, "page": number, "page_size": size, "total": len(rows)}


def _start(call: Call, rows: Sequence[dict[str, Any]], container: str, key: str) -> int:
    cursor = call.query.get("cursor")
    if cursor is None:
        return 0
    for number, row in enumerate(rows):
        if cursor == _seal(f"{container}:{row[key]}"):
            return number + 1
    raise Refusal(400, "invalid_cursor", "The cursor is malformed or has expired.")


def _seal(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
