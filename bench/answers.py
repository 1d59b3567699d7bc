"""What the light platform answers: realistic bodies in the platform's envelope, made once.

Spec: scaigrid 2 (`/v1/me`), 4 (modules), 5 (envelope), 6 (shape A), 10 (models).
"""

from __future__ import annotations

from typing import Any

import msgspec

# No secret: the light platform takes this one bearer and the bench is the only one to send it.
BEARER = "sgk_bench_0123456789abcdef0123456789abcdef01234567"
MODEL = "scailabs/echo-1"
_CREATED = "2026-01-01T00:00:00.000Z"
_CORE = (
    "models:list", "models:use", "models:manage", "routing:view", "routing:manage",
    "accounting:view_own", "accounting:view_tenant", "accounting:view_partner",
    "accounting:manage_budgets", "users:manage", "api_keys:manage", "webhooks:manage",
    "modules:use", "modules:manage", "admin:access",
)  # fmt: skip
_MODULES = (
    "scaimcp", "scailink", "scaivault", "scaibunker", "scaimatrix", "scaiskills", "scaiqueue",
    "scaipersona", "scaispeak", "scaiecho", "scaimind", "scaicore", "scaibot",
)  # fmt: skip
_MODELS = (
    (MODEL, "chat"),
    ("scailabs/embed-det-1", "embedding"),
    ("scailabs/pixel-1", "image"),
    ("scailabs/tone-1", "audio"),
    ("scailabs/scribe-1", "audio"),
    ("scailabs/offline-1", "chat"),
    ("scailabs/legacy-0", "chat"),
)


class Prepared(msgspec.Struct, frozen=True):
    """A body in two parts: the request's own id stands between them."""

    head: bytes
    tail: bytes

    def body(self, request_id: bytes) -> bytes:
        """Return the whole body."""
        return self.head + request_id + self.tail


def prepared(envelope: dict[str, Any]) -> Prepared:
    """Encode an envelope with ``meta.request_id`` left open."""
    whole = msgspec.json.encode({**envelope, "meta": {"request_id": "@"}})
    head, mark, tail = whole.rpartition(b"@")
    assert mark, "the envelope ends with the request id"
    return Prepared(head, tail)


def me() -> dict[str, Any]:
    """Return the profile of a super_admin with a home tenant."""
    return {
        "user": {
            "id": "usr_01jz8xq5k2m3n4p5q6r7s8t9va",
            "email": "root@platform.test",
            "display_name": "Root",
            "status": "active",
            "created_at": _CREATED,
        },
        "tenant": {
            "id": "tnt_01jz8xq5k2m3n4p5q6r7s8t9vb",
            "slug": "acme",
            "display_name": "Acme",
            "status": "active",
        },
        "partner": {
            "id": "prt_01jz8xq5k2m3n4p5q6r7s8t9vc",
            "slug": "north",
            "display_name": "North",
        },
        "roles": ["super_admin"],
        "custom_roles": [],
        "groups": [],
        "permissions": list(_CORE),
        "module_permissions": ["*"],
        "auth": {
            "method": "api_key",
            "subject_type": "user",
            "issued_at": None,
            "expires_at": None,
            "api_key": {
                "id": "apikey_01jz8xq5k2m3n4p5q6r7s8t9vd",
                "name": "bench",
                "prefix": "sgk_",
                "scopes": ["*"],
                "expires_at": None,
            },
        },
    }


def modules() -> list[dict[str, Any]]:
    """Return every module, all active."""
    return [
        {
            "module_id": module,
            "display_name": module.capitalize(),
            "version": "1.0.0",
            "status": "active",
            "description": f"{module}, as the light platform offers it.",
            "admin_pages": [],
            "dependencies": [],
            "permissions": [f"{module}:view"],
            "frontend_url": None,
        }
        for module in _MODULES
    ]


def models() -> list[dict[str, Any]]:
    """Return the models, the one that calls ask for first."""
    return [
        {
            "id": f"mdl_01jz8xq5k2m3n4p5q6r7s8t9{number:02d}",
            "slug": slug,
            "display_name": slug.rpartition("/")[2],
            "description": f"The light platform's {slug.rpartition('/')[2]}.",
            "modality": modality,
            "context_window": 131_072,
            "max_output_tokens": 16_384,
            "input_price_per_mtok": "1.00",
            "output_price_per_mtok": "2.00",
            "default_params": {},
            "status": "active",
            "created_at": _CREATED,
            "updated_at": _CREATED,
            "health_status": "healthy",
            "active_backend_count": 1,
            "total_backend_count": 1,
        }
        for number, (slug, modality) in enumerate(_MODELS)
    ]


def discover(origin: str) -> dict[str, Any]:
    """Return the public sign-in document."""
    return {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/v1/auth/authorize",
        "token_endpoint": f"{origin}/v1/auth/token",
        "jwks_uri": f"{origin}/.well-known/jwks.json",
        "client_id": "bench",
        "audience": "bench",
    }


def guarded() -> dict[bytes, Prepared]:
    """Return the answers that need the bearer, by path as it travels."""
    rows = models()
    page = {
        "status": "ok",
        "data": {"items": rows},
        "pagination": {"has_more": False, "next_cursor": None, "total_count": len(rows)},
    }
    single = {b"/v1/models/" + row["slug"].replace("/", "%2F").encode(): ok(row) for row in rows}
    return {
        b"/v1/me": ok(me()),
        b"/v1/modules": ok(modules()),
        b"/v1/models": prepared(page),
        **single,
    }


def public(origin: str) -> dict[bytes, Prepared]:
    """Return the answers that need no bearer."""
    return {
        b"/health": prepared({"status": "ok"}),
        b"/v1/scailink/auth/discover": ok(discover(origin)),
    }


def ok(data: Any) -> Prepared:
    """Return a core success."""
    return prepared({"status": "ok", "data": data})


def refused(code: str, message: str) -> Prepared:
    """Return a core error."""
    return prepared({"status": "error", "error": {"code": code, "message": message}})
