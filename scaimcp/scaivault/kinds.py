"""Kinds of resources and the tools behind them. Data only. Spec: scaivault 5."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.records import Mask, Route, ToolRecord
from scaimcp.scaivault.shapes import ID, need
from scaimcp.types import JsonObject


class ResourceKind(msgspec.Struct, frozen=True):
    """One kind of resource.

    Args:
        name: as URIs spell it.
        record: the tool whose result is the content.
        argument: the tool's argument that the URI names.
        lister: name of the tool that lists such things.
        title: for people.
        has_tenant: the URI names the tenant, and behind it a path.
    """

    name: str
    record: ToolRecord
    argument: str
    lister: str
    title: str
    has_tenant: bool = False


_CERTIFICATE = BY_NAME["scaivault_get_certificate"]
_ROTATION_POLICY = replace(
    BY_NAME["scaivault_list_rotation_policies"],
    code="",
    name="rotation policy",
    route=Route("GET", "/v1/rotation/policies/{policy_id}"),
    arguments=(need("policy_id", ID, "Id of the rotation policy."),),
    description="Show a rotation policy.",
    fields=BY_NAME["scaivault_create_rotation_policy"].fields,
    container=(),
    is_partial=True,
)
_ALL = (
    ResourceKind(
        "secrets",
        BY_NAME["scaivault_read_secret"],
        "path",
        "scaivault_list_secrets",
        "Secret",
        has_tenant=True,
    ),
    ResourceKind(
        "policies",
        BY_NAME["scaivault_get_policy"],
        "policy_id",
        "scaivault_list_policies",
        "Access policy",
    ),
    ResourceKind(
        "rotation-policies",
        _ROTATION_POLICY,
        "policy_id",
        "scaivault_list_rotation_policies",
        "Rotation policy",
    ),
    ResourceKind(
        "certificates",
        # Without its private key, whatever the guards say.
        replace(
            _CERTIFICATE,
            mask=Mask(dropped=("private_key",)),
            description="A certificate with its chain, without its private key.",
        ),
        "certificate_id",
        "scaivault_list_certificates",
        "Certificate",
    ),
    ResourceKind(
        "audit",
        BY_NAME["scaivault_secret_audit_trail"],
        "path",
        "scaivault_list_secrets",
        "Audit trail of a secret",
        has_tenant=True,
    ),
)
KINDS: Mapping[str, ResourceKind] = {kind.name: kind for kind in _ALL}


def _template(kind: ResourceKind) -> JsonObject:
    where = "{tenant}/{+path}" if kind.has_tenant else "{id}"
    return {
        "uriTemplate": f"scaivault://{kind.name}/{where}",
        "name": kind.name,
        "title": kind.title,
        "description": kind.record.description,
        "mimeType": "application/json",
    }


TEMPLATES: tuple[tuple[ResourceKind, JsonObject], ...] = tuple(
    (kind, _template(kind)) for kind in _ALL
)
