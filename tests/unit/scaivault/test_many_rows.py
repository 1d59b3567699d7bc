"""What is decided for all rows at once is what each row gets alone. Spec: scaivault 2.3, 2.5."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.guards import Guards, passing_rows, row_passes
from scaimcp.scaivault.masking import drop, fields_of, masked_json
from scaimcp.scaivault.outline import Outline, names_in, outline_of
from scaimcp.scaivault.output import render
from scaimcp.scaivault.paths import are_within, covers, is_within, read_prefix
from scaimcp.scaivault.records import Mask, ToolRecord
from tests.unit.scaivault.samples import record_of

PRIVATE = "-----BEGIN PRIVATE KEY-----"
# Listed fields, dropped and secret ones, and names that nobody has heard of.
NAMES = st.sampled_from(
    sorted(
        {name for record in TOOLS for name in fields_of(record.fields, record.mask).children or {}}
        | {"data", "key", "keys", "private_key", "credentials", "account_key", "delivery", "value"}
        | {"password", "token_id", "api_key", "plaintext", "an odd key", PRIVATE, "x" * 70}
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["x", "", PRIVATE, "app/db"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=4)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
ROWS = st.lists(OBJECTS, max_size=4) | st.lists(VALUES, max_size=3)
PATHS = st.sampled_from(
    ["app", "app/db", "app2", "app/root", "app/root/k", "app/rooted", "infra/x", "ap", "App/db",
     "app/../infra", "app//db", "/app", "app/", "app/db\n", "app\ninfra", "app/versions", "",
     "/".join(["app"] * 10), "/".join(["app"] * 11), "app/" + "x" * 508, "app/" + "x" * 509]
)  # fmt: skip
ENTRIES = st.lists(st.sampled_from(["app", "app/root", "infra", "a", "ap"]), max_size=3).map(tuple)
LIMITS = st.builds(
    Guards,
    allowed=st.none() | ENTRIES,
    denied=ENTRIES,
    tenant_id=st.sampled_from(["", "tnt_a"]),
)
RECORDS = st.sampled_from(TOOLS)


def page_or_object(record: ToolRecord, rows: list[Any], one: dict[str, Any]) -> dict[str, Any]:
    return {"items": rows, "has_more": False} if record.is_list else one


def within(path: str, allowed: tuple[str, ...] | None, denied: tuple[str, ...]) -> bool:
    """Say what the contract says, entry by entry."""
    if not path or read_prefix(path) != path or any(covers(entry, path) for entry in denied):
        return False
    return allowed is None or any(covers(entry, path) for entry in allowed)


@given(record=RECORDS, rows=ROWS, one=OBJECTS)
def test_masking_along_an_outline_is_masking(
    record: ToolRecord, rows: list[Any], one: dict[str, Any]
) -> None:
    result = page_or_object(record, rows, one)
    expected, encoded = masked_json(record, result)
    assert masked_json(record, result, outline_of(result)) == (expected, encoded)
    assert encoded == msgspec.json.encode(expected)


@given(record=RECORDS, rows=ROWS, one=OBJECTS)
def test_dropping_along_an_outline_is_dropping(
    record: ToolRecord, rows: list[Any], one: dict[str, Any]
) -> None:
    result = page_or_object(record, rows, one)
    assert drop(record.mask, result, outline_of(result)) == drop(record.mask, result)


@given(record=RECORDS, rows=st.lists(OBJECTS, max_size=4), one=OBJECTS, guards=LIMITS)
def test_no_dropped_field_comes_back_as_a_marker(
    record: ToolRecord, rows: list[Any], one: dict[str, Any], guards: Guards
) -> None:
    masking = msgspec.structs.replace(guards, mask_values=True)
    plain, _ = render(record, page_or_object(record, rows, one), guards)
    masked, _ = render(record, page_or_object(record, rows, one), masking)
    left, shown = outline_of(plain), outline_of(masked)
    assert left is not None
    assert shown is not None
    # Names that might hold values are shown as numbered markers.
    new = {name for name in names_in(shown) if not name.startswith(MARKER)}
    assert new - set(names_in(left)) <= {"masked"}


@given(record=RECORDS, rows=ROWS, guards=LIMITS)
def test_rows_pass_together_as_they_pass_alone(
    record: ToolRecord, rows: list[Any], guards: Guards
) -> None:
    assert passing_rows(record, rows, guards) == [
        row for row in rows if row_passes(record, row, guards)
    ]


@pytest.mark.parametrize("code", ["S4", "AU1", "RO3", "SU1"])
@given(paths=st.lists(PATHS | st.none(), max_size=4), tenant=st.booleans(), guards=LIMITS)
def test_rows_with_paths_pass_together_as_they_pass_alone(
    code: str, paths: list[Any], tenant: bool, guards: Guards
) -> None:
    record = record_of(code)
    where = next(check.where for check in record.checks if check.kind == "rows")
    rows = [{where: path, **({"tenant_id": "tnt_b"} if tenant else {})} for path in paths]
    assert passing_rows(record, rows, guards) == [
        row for row in rows if row_passes(record, row, guards)
    ]


@given(path=PATHS, allowed=st.none() | ENTRIES, denied=ENTRIES)
def test_a_path_is_within_what_is_allowed_and_not_denied(
    path: str, allowed: tuple[str, ...] | None, denied: tuple[str, ...]
) -> None:
    assert is_within(path, allowed, denied) == within(path, allowed, denied)


@given(paths=st.lists(PATHS, max_size=4), allowed=st.none() | ENTRIES, denied=ENTRIES)
def test_many_paths_are_within_when_each_of_them_is(
    paths: list[str], allowed: tuple[str, ...] | None, denied: tuple[str, ...]
) -> None:
    each = all(within(path, allowed, denied) for path in paths)
    assert are_within(paths, allowed, denied) == each


@pytest.mark.parametrize(
    "path", ["app/a\napp/b", "app/a\n", "\napp/a", "app/a\n\napp/b", "app/a\r", "app/a\x00"]
)
def test_two_paths_in_one_text_are_none(path: str) -> None:
    assert not are_within([path], ("app",), ())
    assert not are_within(["app/x", path, "app/y"], ("app",), ())
    assert not is_within(path, ("app",), ())


def test_what_is_no_text_is_no_path() -> None:
    for value in (None, 7, ["app"], {"app": 1}, b"app"):
        assert not are_within(["app/a", value], ("app",), ())


def test_the_empty_entry_covers_everything() -> None:
    assert is_within("app/a", ("",), ())
    assert not is_within("app/a", None, ("",))
    assert not is_within("app/a", (), ())


# -- outlines ------------------------------------------------------------------------------------


def test_an_outline_tells_what_stands_where() -> None:
    rows = [{"a": 1, "m": {"x": [{"y": 2}]}}, {"a": None, "m": 3}, [{"b": 4}]]
    found = outline_of({"items": rows})
    assert found is not None
    items = found.inner["items"]
    assert (items.names, items.is_even) == ({"a", "m", "b"}, False)
    assert items.inner["m"].inner["x"] == Outline({"y"}, {}, True)
    assert set(names_in(found)) == {"items", "a", "m", "b", "x", "y"}


def test_what_is_nested_deep_or_more_than_json_has_no_outline() -> None:
    deep: Any = {"x": 1}
    for _ in range(70):
        deep = [deep]
    assert outline_of({"items": deep}) is None
    for _ in range(70):
        deep = {"x": deep}
    assert outline_of(deep) is None
    assert outline_of({"x": object()}) is None


def test_a_dropped_field_that_every_row_had_is_not_masked_but_gone() -> None:
    rows = [{"path": f"app/{n}", "data": {"p": "v"}, "more": 1} for n in range(3)]
    guards = Guards(mask_values=True, allowed=("app",))
    shown, encoded = render(record_of("S4"), {"items": rows, "total": 3}, guards)
    expected = [{"path": f"app/{n}", "more": MARKER} for n in range(3)]
    assert shown == {"items": expected, "masked": True}
    assert msgspec.json.decode(encoded) == shown


def test_many_different_secret_names_are_masked_too() -> None:
    rows = [{"extra_data": {f"password_{n}": "hunter2", f"note_{n}": "x"}} for n in range(100)]
    shown, encoded = render(record_of("AU1"), {"items": rows}, Guards(mask_values=True))
    assert shown["items"][7] == {"extra_data": {"password_7": MARKER, "note_7": "x"}}
    assert b"hunter2" not in encoded


def test_a_private_key_in_one_row_of_many_is_masked() -> None:
    rows = [{"path": f"app/{n}", "metadata": {"note": "x"}} for n in range(100)]
    rows[50]["metadata"] = {"note": f"{PRIVATE}hunter2", PRIVATE: "y"}
    shown, encoded = render(record_of("S4"), {"items": rows}, Guards(mask_values=True))
    assert shown["items"][50]["metadata"] == {"note": MARKER, MARKER: "y"}
    assert shown["items"][51] == rows[51]
    assert b"hunter2" not in encoded


def test_masks_name_what_they_drop_by_its_holder_too() -> None:
    value = {"delivery": {"secret": 1, "type": "x"}, "secret": 2}
    assert drop(Mask(dropped=("delivery.secret",)), value, outline_of(value)) == {
        "delivery": {"type": "x"},
        "secret": 2,
    }
