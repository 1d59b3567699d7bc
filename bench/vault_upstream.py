"""A ScaiVault that costs next to nothing: it answers a few reads from memory.

``python -m bench.vault_upstream --ready-file F``, as `bench.upstream`. Bodies are those of
ScaiVault, a hundred rows in each list; filters do nothing. Spec: scaivault 1 (S1, S4, AU1).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from bench.light import main

# No secret: the light vault takes this one bearer and the bench is the only one to send it.
TOKEN = "skt_bench_0123456789abcdef0123456789abcdef"
TENANT, PARTNER = "tnt_bench", "ptn_bench"
SECRET = "integrations/salesforce/oauth"
# In every good answer, masked or not.
MARKER = "integrations/salesforce/"
ROWS = 100
_TIME = "2026-01-01T00:00:00Z"
_COUNTS = b"/counts"
_HEAD = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d"


def whoami() -> dict[str, Any]:
    """Return whose the token is."""
    return {
        "identity_id": "sa:bench",
        "identity_type": "service_account",
        "tenant_id": TENANT,
        "partner_id": PARTNER,
        "scopes": ["secrets:read", "secrets:list", "audit:read"],
    }


def secret(path: str) -> dict[str, Any]:
    """Return a secret without its value, as lists hold it."""
    return {
        "path": path,
        "secret_type": "json",
        "version": 3,
        "metadata": {"owner": "team:platform", "environment": "production"},
        "created_at": _TIME,
        "updated_at": _TIME,
        "expires_at": None,
        "last_accessed_at": _TIME,
        "rotation_policy_id": None,
        "secret_policy_id": None,
    }


def audit_row(number: int) -> dict[str, Any]:
    """Return a row of the audit log."""
    return {
        "id": f"log_{number:016x}",
        "timestamp": _TIME,
        "action": "read",
        "identity_type": "service_account",
        "identity_id": "sa:report-runner",
        "secret_path": f"{MARKER}org-{number}",
        "source_ip": "10.0.1.50",
        "user_agent": "report-runner/2.1",
        "success": False,
        "duration_ms": 3,
        "request_id": f"req_{number:016x}",
        "extra_data": {"error_code": "access_denied"},
    }


def bodies() -> dict[bytes, bytes]:
    """Return the answers by path."""
    value = {"client_id": "3MVG9-bench", "client_secret": "sf-bench", "instance": "eu1"}
    secrets = [secret(f"{MARKER}org-{number}") for number in range(ROWS)]
    rows = [audit_row(number) for number in range(ROWS)]
    answers: dict[str, Any] = {
        "/v1/auth/whoami": whoami(),
        f"/v1/secrets/{SECRET}": {**secret(SECRET), "data": value},
        "/v1/secrets/": {"secrets": secrets, "has_more": False, "cursor": None},
        "/v1/audit/logs": {"logs": rows, "has_more": False, "cursor": None},
    }
    return {path.encode(): msgspec.json.encode(answer) for path, answer in answers.items()}


class Site:
    """What every connection shares: the answers and the counts."""

    def __init__(self, _: str = "") -> None:
        self.counts: Counter[str] = Counter()
        self._bodies = bodies()
        self._authorization = b"Bearer " + TOKEN.encode()

    def answer(self, path: bytes, authorization: bytes, request_id: bytes, _: bytes) -> bytes:
        """Return a whole HTTP answer."""
        path = path.partition(b"?")[0]
        if path == _COUNTS:
            counted = msgspec.json.encode(dict(self.counts))
            self.counts.clear()
            return _response(b"200 OK", counted, request_id)
        self.counts[path.decode("latin-1")] += 1
        if authorization != self._authorization:
            return _response(b"401 Unauthorized", _refused("token_invalid"), request_id)
        body = self._bodies.get(path)
        if body is None:
            return _response(b"404 Not Found", _refused("secret_not_found"), request_id)
        return _response(b"200 OK", body, request_id)


def _refused(code: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": "No.", "details": {}}})


def _response(status: bytes, body: bytes, request_id: bytes) -> bytes:
    return b"%b\r\n\r\n%b" % (_HEAD % (status, request_id or b"req_bench", len(body)), body)


if __name__ == "__main__":
    main(Site, __doc__)
