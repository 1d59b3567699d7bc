"""MCP's protocol revisions and what each of them allows. Pure.

Spec: MCP 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25 (handshake) and 2026-07-28.
"""

from __future__ import annotations

import msgspec


class Revision(msgspec.Struct, frozen=True):
    """One revision's rules.

    Args:
        name: date form.
        is_modern: stateless, with the request's own envelope in ``_meta``.
        has_batches: JSON-RPC batches.
        has_annotations: tool annotations and audio content.
        has_structure: titles, output schemas, ``structuredContent``, ``_meta`` on tools.
        elicitation: modes of questions to users, ``form`` and ``url``.
    """

    name: str
    is_modern: bool = False
    has_batches: bool = False
    has_annotations: bool = True
    has_structure: bool = True
    elicitation: frozenset[str] = frozenset()


V2024_11_05 = Revision("2024-11-05", has_annotations=False, has_structure=False)
V2025_03_26 = Revision("2025-03-26", has_batches=True, has_structure=False)
V2025_06_18 = Revision("2025-06-18", elicitation=frozenset({"form"}))
V2025_11_25 = Revision("2025-11-25", elicitation=frozenset({"form", "url"}))
V2026_07_28 = Revision("2026-07-28", is_modern=True, elicitation=frozenset({"form", "url"}))

HANDSHAKE = {r.name: r for r in (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25)}
MODERN = {V2026_07_28.name: V2026_07_28}
SUPPORTED = tuple(sorted({**HANDSHAKE, **MODERN}, reverse=True))
# What a client without a version header and without a session speaks (2025-03-26, Transports).
ASSUMED = V2025_03_26


def negotiate(requested: str) -> Revision:
    """Return the revision that ``initialize`` settles on: the asked one, else the newest."""
    return HANDSHAKE.get(requested, V2025_11_25)


def of_header(header: str | None, session_revision: str | None) -> Revision | None:
    """Return the revision of a request that is not ``initialize``; None when it is not served.

    Args:
        header: ``MCP-Protocol-Version``, None when absent.
        session_revision: what the client settled on at ``initialize``, if it says so.
    """
    if header is None:
        return HANDSHAKE.get(session_revision or "", ASSUMED)
    return HANDSHAKE.get(header) or MODERN.get(header)
