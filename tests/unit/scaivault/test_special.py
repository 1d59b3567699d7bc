"""The deciding parts of procedures, as data. Spec: scaivault 1, 2.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from scaimcp.scaivault.answers import UpstreamFailure
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.context_lock import Holder, Identity, lock_headers, read_holder
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.job import echoed
from scaimcp.scaivault.special.acme import open_challenges
from scaimcp.scaivault.special.audit import grouped
from scaimcp.scaivault.special.federation import maps
from scaimcp.scaivault.special.pki import pem_blocks, stated_id, with_days
from scaimcp.scaivault.special.registry import PROCEDURES
from scaimcp.scaivault.special.secrets import expiring, rotated
from scaimcp.scaivault.timing import Timing
from scaimcp.types import Secret
from tests.unit.scaivault.certificates import make

NOW = datetime(2026, 4, 24, tzinfo=UTC)
PEM = make("Root").pem


def test_every_procedure_belongs_to_a_record() -> None:
    named = {record.special for record in TOOLS if record.special}
    # This one is one request; only its body is made in a way of its own.
    assert set(PROCEDURES) == named


# -- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"path": "a", "new_version": 2},
        {"secret_path": "a", "new_version": 2},
        [{"secret_path": "b"}, 7, {"secret_path": "a", "new_version": 2}],
        {"data": [{"secret_path": "a", "new_version": 2}], "has_more": False},
        {"count": 1, "results": [{"path": "a", "new_version": 2}]},
    ],
)
def test_a_rotation_by_policy_is_found_for_its_secret(answer: Any) -> None:
    assert rotated(answer, "a") == {"path": "a", "new_version": 2}


@pytest.mark.parametrize("answer", [None, 7, [], {}, {"path": "b"}, [{"path": "b"}], {"data": []}])
def test_a_rotation_of_something_else_is_a_mismatch(answer: Any) -> None:
    with pytest.raises(UpstreamFailure, match="cannot be used"):
        rotated(answer, "a")


def test_what_ends_soon_is_counted_in_seconds() -> None:
    ends = [timedelta(seconds=s) for s in (50, -5, 101, 100)]
    rows: list[dict[str, Any]] = [
        {"n": n, "expires_at": (NOW + left).isoformat()} for n, left in enumerate(ends)
    ]
    rows += [{"expires_at": None}, {"expires_at": "never"}, {}]
    found = [(left, row["n"]) for left, row in expiring(rows, NOW, 100)]
    assert found == [(-5, 1), (50, 0), (100, 3)]


def test_an_echo_must_be_the_path_that_was_asked_for() -> None:
    assert echoed({"v": 1}, "a") == {"path": "a", "v": 1}
    assert echoed({"path": "a"}, "a") == {"path": "a"}
    for path in ("b", "A", "a/", None, 7):
        with pytest.raises(UpstreamFailure, match="cannot be used"):
            echoed({"path": path}, "a")


# -- federation, audit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "is_mapped"),
    [
        ({"mode": "proxy", "path_mapping": {"x/**": "y"}}, True),
        ({"mode": "sync", "path_mapping": {"x/**": "y"}}, False),
        ({"mode": "proxy", "path_mapping": {"x": "y"}}, False),
        ({"mode": "proxy", "path_mapping": ["x/**"]}, False),
        ({"mode": "proxy", "path_mapping": {"/x/**": "y", "X/a": "y", "": "y"}}, False),
        ({"path_mapping": {"**": "y"}}, False),
        ({}, False),
    ],
)
def test_only_a_mapping_in_proxy_mode_reads_through(backend: Any, is_mapped: bool) -> None:
    assert maps(backend, "x/a") == is_mapped


def test_failures_are_grouped_by_who_and_where() -> None:
    rows: list[dict[str, Any]] = [
        {"identity_id": "sa:a", "secret_path": "p", "action": "read", "timestamp": "2"},
        {"identity_id": "sa:a", "secret_path": "p", "action": "list", "timestamp": "1",
         "source_ip": "10.0.0.2"},
        {"identity_id": "sa:a", "secret_path": "p", "action": "read", "success": True},
        {"identity_id": None, "secret_path": 7},
    ]  # fmt: skip
    assert grouped(rows) == [
        {"identity_id": "sa:a", "secret_path": "p", "actions": ["list", "read"], "failures": 2,
         "first_at": "1", "last_at": "2", "source_ips": ["10.0.0.2"]},
        {"identity_id": None, "secret_path": None, "actions": [], "failures": 1,
         "first_at": None, "last_at": None, "source_ips": []},
    ]  # fmt: skip


# -- certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        PEM.encode(),
        b"# a comment\n" + PEM.encode(),
        msgspec.json.encode({"certificate_pem": PEM}),
        msgspec.json.encode({"certificate": PEM}),
        msgspec.json.encode({"pem": PEM}),
        msgspec.json.encode(PEM),
        PEM.encode() + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_a_certificate_is_read_of_text_or_json_and_never_a_key(body: bytes) -> None:
    assert pem_blocks(body) == [PEM]


def test_a_chain_comes_after_the_certificate() -> None:
    for chain in ([PEM, PEM], PEM + PEM):
        body = msgspec.json.encode({"certificate": PEM, "ca_chain": chain})
        assert pem_blocks(body) == [PEM, PEM, PEM]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"7", b"<html>", b"\xff", b'{"pem":7}'])
def test_an_answer_without_a_certificate_is_a_mismatch(body: bytes) -> None:
    with pytest.raises(UpstreamFailure, match="cannot be used"):
        pem_blocks(body)


@pytest.mark.parametrize("value", [None, 7, "", "a/b", "..", "a%2fb", "x" * 129, "a b"])
def test_an_id_that_scaivault_states_must_fit_a_url(value: Any) -> None:
    with pytest.raises(UpstreamFailure, match="cannot be used"):
        stated_id(value)


def test_days_are_whole_and_may_be_unknown() -> None:
    assert with_days({"not_after": "2026-04-25T23:00:00Z"}, NOW)["days_remaining"] == 1
    assert with_days({"not_after": "x"}, NOW)["days_remaining"] is None


def test_only_open_challenges_are_completed() -> None:
    rows = [{"id": "c1"}, {"id": "c2", "status": "valid"}, {"id": "c3", "status": "pending"}, 7]
    assert open_challenges({"challenges": rows}) == ["c1", "c3"]
    assert open_challenges({}) == []


# -- the lock ----------------------------------------------------------------------------------


def identity(tenant: str = "") -> Identity:
    return Identity(token=Secret("skt_x"), key=b"k", tenant_id=tenant)


@pytest.mark.parametrize(
    ("whoami", "holder"),
    [
        ({"tenant_id": "t", "partner_id": "p", "x": 1}, Holder("t", "p")),
        ({"tenant_id": 7, "partner_id": None}, Holder("", "")),
        ({}, Holder("", "")),
    ],
)
def test_a_holder_is_what_is_stated(whoami: Any, holder: Holder) -> None:
    assert read_holder(whoami) == holder


@pytest.mark.parametrize(
    ("holder", "own", "lock", "headers"),
    [
        (Holder("a", "p"), "", {"tenant_id": "a"}, {}),
        (Holder("a", "p"), "", {"tenant_id": "b"}, {"X-Tenant-ID": "b"}),
        (Holder("", "p"), "", {"tenant_id": "b"}, None),
        (Holder("a", "p"), "", {"partner_id": "p"}, {}),
        (Holder("a", "q"), "", {"partner_id": "p"}, None),
        (Holder("a", ""), "", {"partner_id": "p"}, None),
        (Holder("a", "q"), "", {"partner_id": "p", "tenant_id": "a"}, None),
        (Holder("a", "p"), "a", {}, {}),
        (Holder("b", "p"), "a", {}, None),
        (Holder("", "p"), "a", {}, None),
        (Holder("a", "p"), "a", {"tenant_id": "b"}, None),
        (Holder("b", "p"), "a", {"tenant_id": "b"}, None),
        (Holder("", ""), "", {}, {}),
    ],
)
def test_a_lock_adds_a_header_or_refuses(
    holder: Holder, own: str, lock: dict[str, str], headers: dict[str, str] | None
) -> None:
    guards = Guards(**lock)  # type: ignore[arg-type]
    if headers is None:
        with pytest.raises(VaultError) as caught:
            lock_headers(holder, identity(own), guards)
        assert caught.value.code == "TENANT_LOCKED"
    else:
        assert lock_headers(holder, identity(own), guards) == headers


def test_an_identity_does_not_show_its_token() -> None:
    assert "skt_x" not in repr(identity())


async def test_usual_timing_is_the_systems() -> None:
    timing = Timing()
    assert 0.0 <= timing.jitter(0.5) <= 0.5
    assert timing.now().tzinfo is not None
    await timing.sleep(0)
