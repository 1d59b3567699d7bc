"""URIs and templates of resources. Spec: scaivault 5."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.completion import kind_of
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.kinds import KINDS, TEMPLATES
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.resources import GUARDS_URI, guards_resource, parse_uri, templates

OPEN = Guards()


def code_of(uri: str) -> str:
    with pytest.raises(VaultError) as failure:
        parse_uri(uri)
    return failure.value.code


def test_uris_name_kind_tenant_and_path() -> None:
    target = parse_uri("scaivault://secrets/tnt_a/app/db/password")
    assert target.kind is KINDS["secrets"]
    assert (target.tenant, target.name) == ("tnt_a", "app/db/password")
    target = parse_uri("scaivault://policies/pol_1")
    assert target.kind is KINDS["policies"]
    assert (target.tenant, target.name) == ("", "pol_1")
    assert parse_uri(GUARDS_URI).kind is None


@pytest.mark.parametrize(
    "rest",
    ["a/%2e%2e/b", "a?x=1", "a#x", "a%2Fb", "a\\b", "a b", "a\nb", "u@a", "a\x00"],
)
def test_g38_nothing_is_decoded(rest: str) -> None:
    assert code_of(f"scaivault://secrets/tnt_a/{rest}") == "INVALID_PATH"
    assert code_of(f"scaivault://policies/{rest}") == "INVALID_ARGUMENTS"


@pytest.mark.parametrize(
    "uri",
    ["", "secrets/a/b", "scaivault:/secrets/a/b", "SCAIVAULT://secrets/a/b",
     "scaivault://Secrets/a/b", "scaivault://secrets", "scaivault://secrets/",
     "scaivault://secrets/tnt_a", "scaivault://secrets/tnt_a/", "scaivault://secrets//app",
     "scaivault://policies", "scaivault://policies/", "scaivault://guards/",
     "scaivault://guards/x", "scaivault://user@secrets/a/b", "https://secrets/a/b",
     "scaivault://nothing/a"],
)  # fmt: skip
def test_b22_what_is_no_resource_is_refused(uri: str) -> None:
    assert code_of(uri) == "INVALID_ARGUMENTS"


@given(st.text(max_size=60))
def test_no_text_gets_through_with_what_would_have_to_be_decoded(rest: str) -> None:
    for start in ("scaivault://secrets/tnt_a/", "scaivault://certificates/", "scaivault://"):
        with contextlib.suppress(VaultError):
            target = parse_uri(start + rest)
            assert not re.search(r"[%?#@\s]", target.name + target.tenant)


def test_the_templates_are_those_of_the_contract() -> None:
    assert [template["uriTemplate"] for template in templates(OPEN)] == [
        "scaivault://secrets/{tenant}/{+path}",
        "scaivault://policies/{id}",
        "scaivault://rotation-policies/{id}",
        "scaivault://certificates/{id}",
        "scaivault://audit/{tenant}/{+path}",
    ]
    assert all(template["mimeType"] == "application/json" for template in templates(OPEN))


def test_g57_templates_of_groups_that_are_off_do_not_exist() -> None:
    shown = templates(Guards(groups=frozenset({"secrets", "audit"})))
    assert [template["name"] for template in shown] == ["secrets", "audit"]


def test_templates_need_the_permission_of_their_tool() -> None:
    def reads(record: ToolRecord) -> bool:
        return record.permission == "read"

    assert [t["name"] for t in templates(OPEN, reads)] == [
        "secrets", "policies", "rotation-policies", "certificates",
    ]  # fmt: skip


def test_every_kind_reads_and_only_reads() -> None:
    for kind, _ in TEMPLATES:
        assert kind.record.tool_class == "read"
        assert kind.record.route.method == "GET"
        assert kind.argument in {member.name for member in kind.record.arguments}


def test_a_certificate_never_shows_its_key() -> None:
    assert KINDS["certificates"].record.mask.dropped == ("private_key",)


def test_the_guards_are_a_resource_of_their_own() -> None:
    assert guards_resource()["uri"] == GUARDS_URI
    assert guards_resource() is not guards_resource()


def test_references_of_templates_and_prompts_are_known() -> None:
    for kind, template in TEMPLATES:
        assert kind_of({"type": "ref/resource", "uri": template["uriTemplate"]}) is kind
    prompt = {"type": "ref/prompt", "name": "rotate-credential"}
    assert kind_of(prompt) is KINDS["secrets"]
    for reference in (
        {"type": "ref/prompt", "name": "other"},
        {"type": "ref/resource", "uri": "scaivault://secrets/tnt_a/app"},
        {"type": "ref/resource", "uri": "file:///{path}"},
        {"type": "ref/resource"},
    ):
        assert kind_of(reference) is None
