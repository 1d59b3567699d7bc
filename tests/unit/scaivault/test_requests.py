"""REST requests made of records and arguments. Spec: scaivault 1, 2.3."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.paths import SafeId, SafeName, SafePath, read_path
from scaimcp.scaivault.requests import VaultRequest, id_of, place, query_of, request_of

READ = BY_NAME["scaivault_read_secret"]
WRITE = BY_NAME["scaivault_write_secret"]
ROTATION = BY_NAME["scaivault_create_rotation_policy"]
BACKEND = BY_NAME["scaivault_create_federation_backend"]


@given(st.text())
def test_no_text_stands_in_a_url_unchecked(text: str) -> None:
    with pytest.raises(TypeError):
        place("/v1/secrets/{path}", path=text)  # type: ignore[arg-type]
    if read_path(text) is None:
        with pytest.raises(VaultError, match="path"):
            request_of(READ, {"path": text})
        return
    assert request_of(READ, {"path": text}).target == f"/v1/secrets/{text}"
    assert not set(text) & set("%?#.;,\\ ")


def test_checked_parts_stand_in_a_url() -> None:
    path = place("/v1/{a}/{b}/{c}", a=SafePath("x/y"), b=SafeId("i:d"), c=SafeName("N-1"))
    assert path == "/v1/x/y/i:d/N-1"


def test_every_place_of_every_route_is_an_argument_of_a_form() -> None:
    samples = {"path": "app/db", "id": "id_1", "name": "name-1"}
    for record in TOOLS:
        if record.route.path:
            forms = {m.name: getattr(m.shape, "form", "") for m in record.arguments}
            arguments = {name: samples[form] for name, form in forms.items() if form in samples}
            request = request_of(record, arguments)
            assert "{" not in request.path, record.name
            assert request.method == record.route.method
            assert (request.body is None) == (record.route.body is None)


def test_an_id_is_checked_once_more_before_it_stands_in_a_url() -> None:
    assert id_of({"a": "id:1"}, "a") == "id:1"
    with pytest.raises(VaultError, match="a"):
        id_of({"a": "x/y"}, "a")


def test_a_query_holds_what_is_given() -> None:
    arguments = {"a": True, "b": False, "c": 0, "d": "x y&z", "e": ["p", "q"], "f": None, "g": ""}
    query = query_of(("a", "b", "c", "d", "e", "f", "g", "h"), arguments)
    assert query == (("a", "true"), ("b", "false"), ("c", "0"), ("d", "x y&z"), ("e", "p,q"))
    target = VaultRequest("GET", "/v1/x", query).target
    assert target == "/v1/x?a=true&b=false&c=0&d=x%20y%26z&e=p%2Cq"
    assert VaultRequest("GET", "/v1/x").target == "/v1/x"


def test_limits_of_a_secret_are_its_options() -> None:
    full = {"path": "a", "data": {"k": 1}, "max_versions": 2, "rotation_policy_id": "r"}
    body = request_of(WRITE, full).body
    assert body is not None
    assert msgspec.json.decode(body) == {
        "data": {"k": 1},
        "options": {"max_versions": 2, "rotation_policy_id": "r"},
    }
    assert request_of(WRITE, {"path": "a", "data": {}}).body == b'{"data":{}}'


@pytest.mark.parametrize(
    ("warn_before", "sent"), [(["7d", "1d"], {"warn_before": "7d,1d"}), ([], {}), (None, {})]
)
def test_warnings_are_one_text(warn_before: list[str] | None, sent: dict[str, str]) -> None:
    arguments = {"name": "n", "interval": "9d", "warn_before": warn_before}
    body = request_of(ROTATION, arguments).body
    assert body is not None
    assert msgspec.json.decode(body) == {"name": "n", "interval": "9d", **sent}


@pytest.mark.parametrize(("mode", "is_sent"), [("sync", True), ("proxy", False)])
def test_only_a_copy_has_an_interval(mode: str, is_sent: bool) -> None:
    body = request_of(BACKEND, {"mode": mode, "sync_interval": "15m"}).body
    assert body is not None
    assert ("sync_interval" in msgspec.json.decode(body)) == is_sent


def test_fixed_members_are_sent() -> None:
    body = request_of(BY_NAME["scaivault_create_root_ca"], {"name": "r"}).body
    assert body == b'{"ca_type":"root","name":"r"}'
