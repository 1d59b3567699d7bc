"""The stand-in ScaiVault: an ASGI application that behaves like ScaiVault's REST API.

It is written from the contract alone (Spec: scaivault 7, 8), for development and tests; the shipped
servers never import it. State is in memory, the clock is injected, chance is repeatable; keys and
generated secrets come from the system's source.

Use: `create_vault(VaultConfig())` gives the application (`app.vault` is its state), `async with
serve_vault() as served:` serves it on a free loopback port, `python -m scaimcp.dev.vault --port 0
--ready-file F` does so as a command. `fixture.py` names tokens, tenants and seeded data.

How a request runs (`app.py`): a queued fault; Starlette's routing (unknown path 404, wrong method
405, both without a code); request id; unless the route is open: bearer (401), tenant (403), rate
limit (429), scope (403 `insufficient_scope`); the handler; the audit row; the JSON answer.

How to add an area: write `<area>.py` with a tuple `ROUTES` and list it in `areas.py`.

* `Route(method, path, handler, scope, action, category)`: `path` as Starlette writes it, special
  paths before general ones; `scope` such as "pki:write" (`OPEN`: no bearer, `ANYONE`: any valid
  bearer); `action` one of the documented audit actions, else read, list, write or delete (None: no
  row); `category` a name of `limits.PER_MINUTE`.
* Handlers are plain functions of one `Call` and return JSON data, or `Reply(data, status=201)`,
  `Reply(text, content_type=...)`.
* `Call`: `params`, `query`, `read(StructType)` (the JSON body; 400 `invalid_request` for no JSON,
  422 `validation_error` with `details.fields` for a wrong field; write the body as a frozen
  msgspec Struct with `forbid_unknown_fields=True`), `identity`, `tenant` (a `Tenant`), `vault`,
  `now`, `flag(name)`, `number(name)`; set `call.secret_path` and `call.extra` for the audit row.
* Rows: `call.tenant.table("name")` is a dict of mutable dicts by id; `call.vault.new_id("pol")`
  names them; `find(call.tenant.table("cas"), id, "ca_not_found")` of `errors.py` or 404.
* Lists: `return page(call, rows, "certificates", key="id")` of `paging.py`; `numbered(...)` for
  lists by page number. The container's wire name can be changed by `VaultConfig.containers`.
* Errors: `refuse(status, "lower_case_code", "text", **details)` of `errors.py` raises.
* Time: `call.now` in Unix seconds, `iso(seconds)` for answers, `duration("48h")` and
  `instant("...Z")` of `values.py`. Nothing else reads a clock.
* Events: `call.vault.emit(call.tenant, "secret.updated", path=...)` is what subscriptions read
  (`tenant.events`).
* Secrets from elsewhere: `store.py` (`live`, `require`, `write`, `rotate`, `new_value`) is the
  secret store without routes; rotation, federation and dynamic engines use it. `secrets.py` is
  imported by `areas.py` alone; it asks `federation.remote(tenant, path) -> dict | None` (the value
  of a path that a proxy backend maps; None where none does). `access.require_access(call, path,
  permission)` and `access.decision(...)` decide about one path.
"""

from scaimcp.dev.vault.app import VaultApp, create_vault
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import Served, serve_vault

__all__ = ["Served", "VaultApp", "VaultConfig", "create_vault", "serve_vault"]
