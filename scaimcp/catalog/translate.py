"""From checked arguments to one REST request. Pure. Spec: core-tools 5."""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from scaimcp.catalog.definition import PLACE, RestRequest, ToolDefinition
from scaimcp.scaigrid.client import FilePart, PlatformRequest

AUDIO_BYTES = 25_000_000
DOCUMENT_BYTES = 10_000_000
_EXEC_MARGIN_SECONDS = 15
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HTTPS = re.compile(r"https://[^\s/?#]\S*\Z", re.IGNORECASE)
_SLASHES = re.compile(r"[/\\]")
# Says how speech is returned; the platform does not know it.
_RESULT_FORM = "return_as"
_EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/webm": "webm",
    "audio/mp4": "m4a",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/html": "html",
    "application/pdf": "pdf",
    "application/json": "json",
}
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")

Fault = dict[str, str]


class TranslationFault(Exception):
    """Arguments that fit the schema but cannot become a request; ``faults`` as for the schema."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("arguments cannot be translated")
        self.faults = list(faults)


def fault(field: str, message: str) -> Fault:
    """Return one entry of ``details``."""
    return {"field": field, "message": message}


def path_faults(definition: ToolDefinition, arguments: dict[str, Any]) -> list[Fault]:
    """Refuse path arguments that no identifier of the platform can be.

    A slug may hold ``/``, sent as ``%2F``; its parts are looked at one by one, for a server on
    the way that decodes too early.
    """
    if definition.request is None:
        return []
    faults: list[Fault] = []
    for name in _template(definition.request.path)[1::2]:
        value = arguments.get(name)
        if not isinstance(value, str):
            continue
        parts = _SLASHES.split(value)
        if not {"", ".", ".."}.isdisjoint(parts) or _CONTROL.search(value):
            faults.append(fault(name, "is not an identifier"))
        elif name in definition.id_arguments and not _ID.match(value):
            faults.append(fault(name, "may hold only letters, digits and . _ : -"))
    return faults


@cache
def _template(path: str) -> list[str]:
    """Split a path into text and argument names in turn; there are as many as tools."""
    return PLACE.split(path)


@lru_cache(1_024)
def escape(value: str) -> str:
    """Percent-encode everything but the unreserved characters; ``%`` becomes ``%25``."""
    return value if _UNRESERVED.match(value) else quote(value, safe="")


def rest_of(definition: ToolDefinition) -> RestRequest:
    """Return the REST side of a platform tool; the gateway's own tools have none."""
    if definition.request is None:
        raise ValueError(f"{definition.name} has no request")
    return definition.request


def to_request(
    definition: ToolDefinition, arguments: dict[str, Any], tenant_slug: str
) -> PlatformRequest:
    """Build the REST request of a call.

    Args:
        definition: a tool with a request.
        arguments: checked arguments, defaults filled in.
        tenant_slug: slug of the caller's tenant, for persona models.

    Raises:
        TranslationFault: base64 that cannot be read, a file that is too large, a URL that is not
            https, a repeated ``custom_id``.
    """
    rest = rest_of(definition)
    left = dict(arguments)
    if definition.result.kind in ("audio", "audio_json"):
        left.pop(_RESULT_FORM, None)
    template = _template(rest.path)
    pieces = [
        escape(_scalar(left.pop(piece))) if position % 2 else piece
        for position, piece in enumerate(template)
    ]
    query = _query(rest, left)
    timeout = rest.timeout_seconds
    if definition.name == "bunker_exec":
        timeout = float(arguments.get("timeout_s", 60)) + _EXEC_MARGIN_SECONDS
    has_body = rest.method not in ("GET", "DELETE")
    body, parts = _body(definition, rest, left, tenant_slug) if has_body else (None, ())
    return PlatformRequest(
        method=rest.method,
        path="".join(pieces),
        query=query,
        body=body,
        parts=parts,
        content_type="application/json",
        timeout_seconds=timeout,
        is_raw=definition.result.kind in ("audio", "export"),
    )


def _query(rest: RestRequest, left: dict[str, Any]) -> str:
    """Move the query's arguments out of `left` and encode them."""
    takes_all = rest.method in ("GET", "DELETE")
    names = list(left) if takes_all else [name for name in rest.query if name in left]
    pairs: list[str] = []
    for name in names:
        value = left.pop(name)
        wire = _page_name(rest, name)
        items = value if isinstance(value, list) else [value]
        pairs += [f"{quote(wire, safe='')}={quote(_scalar(item), safe='')}" for item in items]
    return "&".join(pairs)


def _page_name(rest: RestRequest, name: str) -> str:
    if rest.page is None or name not in ("limit", "cursor"):
        return name
    return rest.page[0] if name == "limit" else rest.page[1]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _body(
    definition: ToolDefinition, rest: RestRequest, left: dict[str, Any], tenant_slug: str
) -> tuple[bytes | None, tuple[FilePart, ...]]:
    match rest.body:
        case "multipart":
            return None, _parts(definition, rest, left)
        case "chat":
            left = _chat(left)
        case "persona":
            if not tenant_slug:
                message = "belongs to a tenant, and the platform names none for this caller"
                raise TranslationFault(fault("persona_slug", message))
            model = f"tenant/{tenant_slug}/{left.pop('persona_slug')}"
            left = {"model": model, **left, "stream": False}
        case "batch":
            left = _batch(left)
        case "config":
            left = {**left.get("config", {}), **dict.fromkeys(left.get("reset_keys", []))}
        case _:
            pass
    if not left and rest.method == "POST":
        return None, ()
    return msgspec.json.encode(left), ()


def _chat(left: dict[str, Any]) -> dict[str, Any]:
    faults: list[Fault] = []
    if "messages" in left:
        left["messages"] = [_message(m, i, faults) for i, m in enumerate(left["messages"])]
    if faults:
        raise TranslationFault(*faults)
    left["stream"] = False
    return left


def _message(message: dict[str, Any], index: int, faults: list[Fault]) -> dict[str, Any]:
    """Turn ``image_urls`` into content parts; the platform fetches them, the gateway never."""
    urls = message.get("image_urls")
    if not urls:
        return {key: value for key, value in message.items() if key != "image_urls"}
    for at, url in enumerate(urls):
        if not _HTTPS.match(url):
            faults.append(fault(f"messages[{index}].image_urls[{at}]", "must be an https URL"))
    parts: list[dict[str, Any]] = [{"type": "text", "text": message["content"]}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    rest = {key: value for key, value in message.items() if key != "image_urls"}
    return {**rest, "content": parts}


def _batch(left: dict[str, Any]) -> dict[str, Any]:
    requests = left.pop("requests", None)
    if requests is None:
        return left
    seen: set[str] = set()
    lines: list[bytes] = []
    faults: list[Fault] = []
    for index, entry in enumerate(requests):
        if entry["custom_id"] in seen:
            faults.append(fault(f"requests[{index}].custom_id", "is used more than once"))
        seen.add(entry["custom_id"])
        line = {
            "custom_id": entry["custom_id"],
            "method": "POST",
            "url": f"/v1/inference/{entry['endpoint']}",
            "body": entry["body"],
        }
        lines.append(msgspec.json.encode(line))
    if faults:
        raise TranslationFault(*faults)
    content = b"\n".join(lines) + b"\n"
    return {"input_file_base64": base64.b64encode(content).decode(), **left}


def _parts(
    definition: ToolDefinition, rest: RestRequest, left: dict[str, Any]
) -> tuple[FilePart, ...]:
    parts: list[FilePart] = []
    mime = "application/octet-stream"
    if rest.files:
        mime = str(left.pop("mime_type", mime))
        if not _MIME.match(mime):
            raise TranslationFault(fault("mime_type", "is not a media type such as text/plain"))
    name = f"file.{_EXTENSIONS.get(mime.lower(), 'bin')}"
    for argument, field in rest.files:
        content = _file_content(definition, argument, left)
        if content is not None:
            parts.append(FilePart(field, content, filename=name, content_type=mime))
    for name, value in left.items():
        if isinstance(value, list):
            parts += [FilePart(f"{name}[]", _scalar(item).encode()) for item in value]
        else:
            parts.append(FilePart(name, _scalar(value).encode()))
    return tuple(parts)


def _file_content(definition: ToolDefinition, argument: str, left: dict[str, Any]) -> bytes | None:
    """Take a file out of `left`: base64, or the plain text that a rule lets stand in for it."""
    if argument in left:
        content = decode_base64(argument, left.pop(argument))
    else:
        given = stand_in(definition, argument)
        if given is None:
            return None
        argument, content = given, left.pop(given).encode()
    limit = AUDIO_BYTES if argument == "audio_base64" else DOCUMENT_BYTES
    if len(content) > limit:
        raise TranslationFault(fault(argument, f"is larger than {limit:,} bytes"))
    return content


def stand_in(definition: ToolDefinition, argument: str) -> str | None:
    """Return the argument that is given where the file `argument` is not, None without one."""
    pairs = (rule.arguments for rule in definition.rules if argument in rule.arguments)
    return next((name for names in pairs for name in names if name != argument), None)


def decode_base64(argument: str, text: str) -> bytes:
    """Decode standard base64, padding optional, no line breaks.

    Raises:
        TranslationFault: `text` is no base64.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise TranslationFault(fault(argument, "is not standard base64")) from None
