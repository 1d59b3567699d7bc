"""``/v1/modules/scaimcp/scaivault/guards``: a tenant's own layer of guards. Spec: scaivault 3."""

from __future__ import annotations

from datetime import datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import RequestRefused
from scaimcp.rest.access import REFUSALS, Access, demand, id_of
from scaimcp.rest.bodies import read_object
from scaimcp.rest.catalogue import ROOT
from scaimcp.rest.registry import wanted_versions
from scaimcp.rest.responses import success
from scaimcp.rest.routes import ETAG, Parameter, RestRoute
from scaimcp.scaivault.profile import GuardProfile, ProfileInvalid, profile_of, read_profile
from scaimcp.scaivault.profiles import GuardProfiles
from scaimcp.scaivault.store import StoredProfile
from scaimcp.types import RequestContext

PATH = f"{ROOT}/scaivault/guards"
PERMISSION = "scaivault:guards.manage"
_IF_MATCH = Parameter(
    "If-Match", "header", "The ETag that the guards must still have, * for any.", is_required=True
)


class GuardLayers(msgspec.Struct, frozen=True):
    """The operator's layer, the tenant's, and what both leave.

    ``enabled`` of the operator's layer says that this gateway has the module.
    """

    operator: GuardProfile
    tenant: GuardProfile
    effective: GuardProfile
    version: int
    updated_by: str | None
    updated_at: datetime | None


class GuardResource:
    """Serves the guards of the caller's own tenant.

    Args:
        access: who calls.
        profiles: the tenants' layers; None where the module does not exist.
    """

    def __init__(self, access: Access, profiles: GuardProfiles | None) -> None:
        self._access = access
        self._profiles = profiles

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of this resource."""
        return (
            RestRoute(
                "GET",
                PATH,
                "getVaultGuards",
                "Return the guards of ScaiVault: the operator's, the tenant's, the effective ones.",
                self.show,
                GuardLayers,
                errors=(404, *REFUSALS),
                headers=(ETAG,),
            ),
            RestRoute(
                "PUT",
                PATH,
                "setVaultGuards",
                "Replace the tenant's layer; what the body leaves out is as it was at first.",
                self.replace,
                GuardLayers,
                parameters=(_IF_MATCH,),
                errors=(400, 404, 412, 413, 415, 422, 428, *REFUSALS),
                body=GuardProfile,
                headers=(ETAG,),
            ),
        )

    async def show(self, request: Request) -> Response:
        """Return the layers, with the tenant's version as ETag."""
        context, profiles = await self._admitted(request)
        stored = await profiles.stored(context.caller.tenant_id)
        return _shown(request, profiles, stored)

    async def replace(self, request: Request) -> Response:
        """Replace the tenant's layer.

        Raises:
            RequestRefused: 428 without ``If-Match``, 412 for another version, 422.
        """
        context, profiles = await self._admitted(request)
        if "if-match" not in request.headers:
            raise RequestRefused(
                "PRECONDITION_REQUIRED",
                "Send the ETag of the guards that you have read as If-Match.",
                http_status=428,
            )
        try:
            profile = read_profile(await read_object(request))
        except ProfileInvalid as error:
            raise RequestRefused(
                "VALIDATION_ERROR",
                "The guards do not fit.",
                http_status=422,
                details=error.faults,
            ) from None
        stored = await profiles.replace(context, profile, wanted_versions(request))
        return _shown(request, profiles, stored)

    async def _admitted(self, request: Request) -> tuple[RequestContext, GuardProfiles]:
        """Return who calls, if they may manage guards.

        Raises:
            RequestRefused: 401, 403, and 404 where there are no guards.
        """
        context = await self._access.context(request)
        demand(context, PERMISSION)
        if self._profiles is None or not context.caller.tenant_id:
            raise RequestRefused("NOT_FOUND", "There are no guards here.", http_status=404)
        return context, self._profiles


def _shown(request: Request, profiles: GuardProfiles, stored: StoredProfile) -> Response:
    effective = profiles.effective(stored.profile)
    layers = GuardLayers(
        profile_of(profiles.operator, enabled=True),
        stored.profile,
        profile_of(effective, enabled=stored.profile.enabled),
        stored.version,
        stored.updated_by or None,
        stored.updated_at,
    )
    response = success(layers, id_of(request))
    response.headers["etag"] = f'"{stored.version}"'
    response.headers["cache-control"] = "private, no-cache"
    return response
