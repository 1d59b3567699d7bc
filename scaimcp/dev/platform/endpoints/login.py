"""The platform's sign-in: OpenID Connect, code with PKCE, and a button for each user.

Nobody types a password: the stand-in's users are made up. Spec: scaigrid 2 (issuer, claims), 12;
RFC 6749, 7636 and 9207; OpenID Connect Core 1.0.
"""

import hashlib
import hmac
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit

from scaimcp.dev.platform.answer import encoder
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Body, Endpoint, Family, Raw
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.minting import MintRequest, mint
from scaimcp.dev.platform.store import Row, TableSpec
from scaimcp.dev.platform.tokens import encode_segment

AUTHORIZE_PATH = "/v1/auth/authorize"
TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path
GATEWAY_CLIENT = "scaimcp"
CLIENTS: Mapping[str, str] = {GATEWAY_CLIENT: "/login/callback"}
"""Public clients, and the path of their redirect address, which must be on loopback."""
CODE_SECONDS = 60
ID_TOKEN_SECONDS = 300
ACCESS_SECONDS = 3600
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_JSON, _HTML = "application/json", "text/html; charset=utf-8"
_QUERY = fields(
    "response_type:str, client_id:str, redirect_uri:str(<=2000), scope:str(<=1000),"
    "state:str(<=4000), nonce:str(<=1000), code_challenge:str, code_challenge_method:str,"
    "prompt:str, login_hint:str, response_mode:str, login:str(<=256)"
)
_FORM = fields(
    "grant_type:str*, code:str(<=256), redirect_uri:str(<=2000), code_verifier:str, client_id:str"
)


def authorize(call: Call) -> Raw:
    """Show the users to choose from, or send the browser back with a code for the chosen one."""
    asked = call.query
    if not _is_registered(asked):
        return _page("This client is unknown here, or its redirect address is another one.", 400)
    wrong = _mistake(asked)
    if wrong is not None:
        return _back(call, {"error": wrong})
    if "login" not in asked:
        return _page(_choice(call), 200)
    user = call.table("users").first(email=asked["login"])
    if user is None or user["status"] != "active":
        return _back(call, {"error": "access_denied"})
    code = call.platform.store.token("code_", 64)
    call.table("login_codes").insert(
        {
            "code": code,
            "user_id": user["id"],
            "client_id": asked["client_id"],
            "redirect_uri": asked["redirect_uri"],
            "challenge": asked["code_challenge"],
            "nonce": asked.get("nonce"),
            "expires_at": call.platform.clock.now() + CODE_SECONDS,
        }
    )
    return _back(call, {"code": code})


def token(call: Call) -> Raw:
    """Exchange a code for an access token and an ID token, once."""
    call.response_headers = ((b"cache-control", b"no-store"),)
    given = call.body
    if given["grant_type"] != "authorization_code":
        return _refusal("unsupported_grant_type")
    row = call.table("login_codes").first(code=given.get("code"))
    if row is None:
        return _refusal("invalid_grant")
    call.table("login_codes").delete(row["id"])
    if given.get("client_id") != row["client_id"]:
        return _refusal("invalid_client", 401)
    is_bound = given.get("redirect_uri") == row["redirect_uri"] and hmac.compare_digest(
        _challenge(given.get("code_verifier", "")), row["challenge"]
    )
    user = call.table("users").get(row["user_id"])
    if not is_bound or user is None or row["expires_at"] <= call.platform.clock.now():
        return _refusal("invalid_grant")
    return Raw(encoder.encode(_tokens(call, row, user)), _JSON)


def _tokens(call: Call, row: Row, user: Row) -> dict[str, object]:
    client_id, platform = row["client_id"], call.platform
    wanted = MintRequest(user["email"], ttl=ACCESS_SECONDS, audience=client_id)
    access = str(mint(platform, wanted, call.base_url)["token"])
    issued = int(platform.clock.now())
    claims: dict[str, object] = {
        "iss": call.base_url,
        "sub": user["id"],
        "aud": client_id,
        "iat": issued,
        "exp": issued + ID_TOKEN_SECONDS,
        "auth_time": issued,
        "at_hash": encode_segment(hashlib.sha256(access.encode()).digest()[:16]),
        "email": user["email"],
        "name": user["display_name"],
        "tenant_id": user["tenant_id"],
    }
    if row["nonce"] is not None:
        claims["nonce"] = row["nonce"]
    return {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "scope": "openid",
        "id_token": platform.keys.mint(claims),
    }


def metadata(origin: str) -> dict[str, object]:
    """Return what a client of the sign-in has to know, but for the key set's address."""
    return {
        "issuer": origin,
        "authorization_endpoint": origin + AUTHORIZE_PATH,
        "token_endpoint": origin + TOKEN_PATH,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "email"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def _is_registered(asked: Mapping[str, Any]) -> bool:
    path = CLIENTS.get(asked.get("client_id", ""))
    try:
        address = urlsplit(asked.get("redirect_uri", ""))
        is_near = address.hostname in _LOOPBACK and address.scheme in ("http", "https")
    except ValueError:
        return False
    return is_near and address.path == path and not (address.query or address.fragment)


def _mistake(asked: Mapping[str, Any]) -> str | None:
    if asked.get("response_type") != "code":
        return "unsupported_response_type"
    if "openid" not in asked.get("scope", "").split():
        return "invalid_scope"
    has_pkce = asked.get("code_challenge_method") == "S256" and asked.get("code_challenge")
    return None if has_pkce else "invalid_request"


def _challenge(verifier: str) -> str:
    return encode_segment(hashlib.sha256(verifier.encode()).digest())


def _back(call: Call, answer: Mapping[str, str]) -> Raw:
    parameters = {**answer, "iss": call.base_url}
    if "state" in call.query:
        parameters["state"] = call.query["state"]
    address = f"{call.query['redirect_uri']}?{urlencode(parameters)}"
    call.response_headers = ((b"location", address.encode()), (b"cache-control", b"no-store"))
    return Raw(b"", _HTML, 302)


def _refusal(error: str, status: int = 400) -> Raw:
    return Raw(encoder.encode({"error": error}), _JSON, status)


def _choice(call: Call) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(str(value))}">'
        for name, value in call.query.items()
    )
    buttons = "".join(
        f'<p><button name="login" value="{escape(user["email"])}">{escape(user["email"])}</button>'
        f" {escape(_home(call, user))}</p>"
        for user in call.table("users").all()
    )
    cancel = '<p><button name="login" value="nobody">Cancel</button></p>'
    return f'<form action="{AUTHORIZE_PATH}">{hidden}{buttons}{cancel}</form>'


def _home(call: Call, user: Row) -> str:
    tenant = call.table("tenants").get(user["tenant_id"] or "")
    roles = ", ".join(user["roles"]) or "no roles"
    return f"{roles}{' of ' + tenant['slug'] if tenant else ''}"


def _page(body: str, status: int) -> Raw:
    title = "Sign in at the stand-in platform"
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto">
<h1>{title}</h1>
<p>This is not ScaiGrid, and these users are made up. Who are you?</p>
{body}
</body></html>
"""
    return Raw(text.encode(), _HTML, status)


FAMILY = Family(
    endpoints=(
        Endpoint("GET", AUTHORIZE_PATH, None, authorize, query=_QUERY),
        Endpoint("POST", TOKEN_PATH, None, token, body=Body("urlencoded", _FORM)),
    ),
    tables=(TableSpec("login_codes", "lgc_", ("code",)),),
)
