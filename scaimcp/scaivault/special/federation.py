"""Reading through to another vault. Spec: scaivault 1 (FE6)."""

from __future__ import annotations

from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.job import Job, Result, echoed
from scaimcp.scaivault.paths import glob_matches, read_glob
from scaimcp.scaivault.requests import VaultRequest, id_of, place

_BACKEND = "/v1/federation/backends/{backend_id}"


async def proxy_read(job: Job) -> Result:
    """Return a secret that a backend in proxy mode maps; nothing is read of other backends."""
    path = job.arguments["path"]
    backend_id = id_of(job.arguments, "backend_id")
    backend = await job.fetch(VaultRequest("GET", place(_BACKEND, backend_id=backend_id)))
    if not maps(backend, path):
        raise invalid_arguments([("path", "is not mapped by this backend in proxy mode")])
    return {**echoed(await job.fetch(), path), "backend_id": str(backend_id)}


def maps(backend: Result, path: str) -> bool:
    """Tell whether a backend reads a path through."""
    mapping = backend.get("path_mapping")
    if backend.get("mode") != "proxy" or not isinstance(mapping, dict):
        return False
    return any(read_glob(glob) is not None and glob_matches(glob, path) for glob in mapping)
