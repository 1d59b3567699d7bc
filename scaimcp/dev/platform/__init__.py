"""The stand-in platform: a small ASGI application that behaves like ScaiGrid's REST API.

It is written from the contract alone (Spec: scaigrid 1-12), for development, tests and load runs.

Use: `async with serve_platform(PlatformConfig()) as served:` serves it on a free loopback port
(`served.url`); `python -m scaimcp.dev.platform --port 8900` does so as a command; `api_key(login)`
computes the key of a login in `SEED_LOGINS`.

How a request runs (`app.py`): ordered faults, routing on the raw path, then for an endpoint with a
permission: authentication (401), suspended tenant (403), rate limits (429), module enabled (403),
permission (403), `rule`; then query and body validation (422 with every fault), the handler, the
audit row, the envelope.

How to add an endpoint family: write `endpoints/<family>.py` with a `FAMILY` and list it in
`endpoints/__init__.py`.

* `Endpoint(method, path, permission, handler, *, rule, query, body, module, audit, status)`. With
  `module="scaibunker"` the path is relative to `/v1/modules/scaibunker`, the module must be enabled
  for the caller's tenant, and the envelope is the modules'. `audit="scaibunker.bunker.exec"` writes
  one audit row per call, success or failure: mutating and inference calls have one, reads none.
* Fields: `fields("name:str*, limit:int(1-10)=1, kind:enum(a,b), tags:list<str>(0-64), @page")`,
  see `fields.py`; `FIELDS.partial("slug")` makes the PUT form, `A + B` joins. Bodies:
  `json_body(spec, check)`, `form_body(spec)` (files are `Part`), `MAP_BODY`; `check(body)` yields
  `(field, message)` pairs.
* Handlers take a `Call`: `params`, `query`, `body` (validated, absent fields absent), `principal`,
  `user_id`, `tenant_id` (403 without one), `holds`, `require`, `now()`, `table(name)`. They return
  data, `Reply(data, status=201)`, `Raw(bytes, content_type)`, or None for 204.
* Tenant walls: rows carry `tenant_id`; read them with `call.rows(table)`, `call.find(table, id,
  "NOUN")` and `call.own(...)`, so that a foreign id is `NOUN_NOT_FOUND`. A list's rows go through
  `shape_a` ... `shape_d` of `pages.py`; `view("id name ...")` names the public fields.
* Rows: `call.created(table, row)` inserts and names the row in the audit; `table.update(id, row)`
  and `table.delete(id)`; never change a row in place. Tables shared by families are in
  `tables.py`, a family's own in `Family.tables`.
* Inference inside a family: `await complete(call, model, messages, options)` and `await
  embed_texts(call, model, texts)` of `inference.py` check access and budgets and write the usage
  row. A family that publishes models gives `Family.models`.
* Errors: raise `not_found("NOUN")`, `conflict(text, code)`, `denied(permission)`,
  `invalid(*faults)`, `refuse(field, text)` or `PlatformError(code, text)` of `errors.py`.
* Events: `call.platform.outbox.emit(tenant_id, "event.type", payload)` writes webhook deliveries.
* Time, ids, chance: `call.platform.clock`, `store.token(prefix)`, `store.random`; nothing else, so
  that two runs with `frozen_at` give the same answers.
"""

from scaimcp.dev.platform.app import PlatformApp, create_platform
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.seed import SEED_LOGINS, api_key
from scaimcp.dev.platform.server import Served, serve_platform

__all__ = [
    "SEED_LOGINS",
    "PlatformApp",
    "PlatformConfig",
    "Served",
    "api_key",
    "create_platform",
    "serve_platform",
]
