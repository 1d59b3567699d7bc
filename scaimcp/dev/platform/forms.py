"""Multipart forms, parsed from a whole body in memory."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from scaimcp.dev.platform.errors import PlatformError, invalid

BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
PARAMETER = re.compile(
    r';\s*(name|filename|filename\*)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Part:
    """One uploaded file."""

    filename: str
    content_type: str
    content: bytes


def parse_form(content_type: str, body: bytes) -> dict[str, list[str | Part]]:
    """Split a `multipart/form-data` body into its fields, in order; files become `Part`.

    Raises:
        PlatformError: `UNSUPPORTED_MEDIA_TYPE` for another content type, `VALIDATION_ERROR` for a
            body that is not well formed.
    """
    boundary = BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or boundary is None:
        raise PlatformError("UNSUPPORTED_MEDIA_TYPE", "The body must be multipart/form-data.")
    mark = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    sections = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise invalid(("body", "is not a complete multipart form"))
    found: dict[str, list[str | Part]] = {}
    for section in sections[1:-1]:
        name, value = _section(section)
        found.setdefault(name, []).append(value)
    return found


def _section(section: bytes) -> tuple[str, str | Part]:
    head, blank, content = section.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    parameters = {
        match[1].lower(): (match[2] if match[2] is not None else match[3]).replace('\\"', '"')
        for match in PARAMETER.finditer(headers.get("content-disposition", ""))
    }
    if not blank or "name" not in parameters:
        raise invalid(("body", "has a part without a name"))
    name = unquote(parameters["name"])
    filename = parameters.get("filename")
    if "filename*" in parameters:
        filename = unquote(parameters["filename*"].rpartition("'")[2])
    if filename is not None:
        kind = headers.get("content-type", "application/octet-stream")
        return name, Part(filename, kind, content)
    try:
        return name, content.decode()
    except UnicodeDecodeError:
        raise invalid((name, "must be UTF-8 text")) from None
