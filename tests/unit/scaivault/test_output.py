"""What leaves a tool. Spec: scaivault 2.3 (listings), 2.7 (G21-G36), 9."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.errors import MARKER, VaultError
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.output import encode, next_limit, render, too_large, visible
from tests.unit.scaivault.samples import record_of

FREE, APP = Guards(), Guards(allowed=("app",))
MASKING = Guards(mask_values=True)
HIDDEN = "(hidden)"


def shaped(code: str, result: dict[str, Any], guards: Guards) -> dict[str, Any]:
    shown, encoded = render(record_of(code), result, guards)
    assert encoded == encode(shown)
    return shown


# -- rows and patterns ---------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["S4", "S7"])
def test_rows_outside_go_without_a_count(code: str) -> None:
    page = {
        "items": [{"path": "app/x"}, {"path": "infra/x"}, {"path": "app2/y"}],
        "has_more": False,
        "total": 3,
        "page": 1,
    }
    assert shaped(code, page, APP) == {"items": [{"path": "app/x"}], "has_more": False}
    assert shaped(code, page, FREE) == {"items": page["items"], "has_more": False}


def test_denied_rows_go() -> None:
    page = {"items": [{"path": "app/root/k"}, {"path": "app/rooted"}], "has_more": False}
    shown = shaped("S4", page, Guards(denied=("app/root",)))
    assert shown["items"] == [{"path": "app/rooted"}]


def test_audit_rows_outside_and_without_a_path_go() -> None:
    rows = [{"id": n, "secret_path": path} for n, path in enumerate(["app/x", "infra/x", None])]
    assert shaped("AU1", {"items": rows}, APP)["items"] == rows[:1]
    assert shaped("AU1", {"items": rows}, FREE)["items"] == rows


def test_groups_of_refused_access_outside_go() -> None:
    groups = [{"secret_path": "infra/x", "failures": 3}, {"secret_path": "app/x", "failures": 1}]
    result = {"groups": groups, "truncated": True}
    assert shaped("AU4", result, APP) == {"groups": groups[1:], "truncated": True}


def test_rows_of_another_tenant_go() -> None:
    page = {"items": [{"id": 1, "tenant_id": "tnt_b"}, {"id": 2, "tenant_id": "tnt_a"}, {"id": 3}]}
    shown = shaped("RO1", page, Guards(tenant_id="tnt_a"))
    assert [row["id"] for row in shown["items"]] == [2, 3]


@pytest.mark.parametrize("items", [None, "infra/x", {"path": "infra/x"}])
def test_what_is_no_list_of_rows_shows_nothing_outside(items: Any) -> None:
    assert shaped("S4", {"items": items}, APP)["items"] == []


def test_patterns_outside_are_hidden() -> None:
    rules = [{"path_pattern": glob, "permissions": ["read"]} for glob in ("app/**", "infra/**")]
    shown = shaped("AP2", {"id": "p", "rules": rules}, APP)
    assert [rule["path_pattern"] for rule in shown["rules"]] == ["app/**", HIDDEN]
    assert shaped("AP2", {"id": "p", "rules": rules}, FREE)["rules"] == rules


@pytest.mark.parametrize("rules", ["infra/**", ["infra/**"], {"path_pattern": "infra/**"}])
def test_patterns_in_an_unknown_shape_are_hidden_too(rules: Any) -> None:
    assert "infra" not in json.dumps(shaped("AP2", {"rules": rules}, APP))


def test_subscriptions_show_the_patterns_that_pass() -> None:
    rows = [{"id": 1, "paths": ["app/**", "infra/**"]}, {"id": 2, "paths": ["infra/**"]}]
    assert shaped("SU1", {"items": rows}, APP)["items"] == [{"id": 1, "paths": ["app/**", HIDDEN]}]
    assert shaped("SU2", rows[1], APP) == {"id": 2, "paths": [HIDDEN]}


def test_mappings_outside_are_one_hidden_member() -> None:
    mapping = {"app/**": "secret/app", "infra/**": "secret/infra", "b/**": "secret/b"}
    wanted = {"app/**": "secret/app", HIDDEN: HIDDEN}
    assert shaped("FE2", {"path_mapping": mapping}, APP) == {"path_mapping": wanted}
    page = {"items": [{"path_mapping": mapping}]}
    assert shaped("FE1", page, APP) == {"items": [{"path_mapping": wanted}]}
    assert shaped("FE2", {"path_mapping": ["infra/**"]}, APP) == {"path_mapping": HIDDEN}
    assert shaped("FE2", {"path_mapping": None}, APP) == {"path_mapping": None}


@pytest.mark.parametrize("code", ["DY2", "DY3", "FE2", "FE3"])
def test_paths_in_settings_are_hidden_outside(code: str) -> None:
    config = {"a_path": "app/x", "b_path": "infra/x", "c": {"D_PATH": "infra/y"}, "e": 1}
    shown = shaped(code, {"config": config}, APP)
    assert shown["config"] == {"a_path": "app/x", "b_path": HIDDEN, "c": {"D_PATH": HIDDEN}, "e": 1}


def test_with_path_guards_a_summary_is_its_totals() -> None:
    totals = {"from": "a", "to": "b", "total_events": 3, "failed_events": 1}
    summary = {**totals, "by_action": {"read": 3}, "top_paths": ["infra/x"], "new": "infra/y"}
    assert shaped("AU2", summary, APP) == totals
    assert shaped("AU2", summary, Guards(denied=("x",))) == totals
    assert shaped("AU2", summary, FREE) == summary


def test_hiding_comes_before_masking() -> None:
    shown = shaped(
        "DY2", {"config": {"a_path": "infra/x"}}, Guards(allowed=("a",), mask_values=True)
    )
    assert shown == {"config": {"a_path": HIDDEN}, "masked": True}


def test_without_masking_values_are_shown() -> None:
    secret = {"path": "app", "data": {"a": "hunter2"}, "new": 1}
    assert shaped("S1", secret, FREE) == secret


def test_a_result_that_is_nested_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(2_000):
        value = [value]
    with pytest.raises(VaultError) as caught:
        shaped("S1", {"data": value}, FREE)
    assert caught.value.code == "UPSTREAM_SHAPE_MISMATCH"


# -- strings -------------------------------------------------------------------------------------

LONG = "x" * 2_001
CUT = "x" * 2_000 + "…"


def test_metadata_is_cut_and_values_never_are() -> None:
    secret = {"data": {"a": LONG}, "metadata": {"a": LONG, "b": ["y", LONG], "c": 7}}
    shown = shaped("S1", secret, FREE)
    assert shown["data"] == {"a": LONG}
    assert shown["metadata"] == {"a": CUT, "b": ["y", CUT], "c": 7}


def test_metadata_of_rows_is_cut() -> None:
    page = {"items": [{"path": "a", "metadata": {"a": LONG}}, {"path": "b"}]}
    assert shaped("S4", page, FREE)["items"] == [
        {"path": "a", "metadata": {"a": CUT}},
        {"path": "b"},
    ]


def test_audit_is_cut_everywhere() -> None:
    row = {"id": "1", "user_agent": LONG, "extra_data": {"a": [LONG]}, "duration_ms": 3}
    shown = shaped("AU1", {"items": [row], "has_more": False}, FREE)
    assert shown["items"][0]["user_agent"] == CUT
    assert shown["items"][0]["extra_data"] == {"a": [CUT]}


def test_two_thousand_characters_are_not_cut() -> None:
    assert shaped("S1", {"metadata": "x" * 2_000}, FREE) == {"metadata": "x" * 2_000}


def test_masking_comes_before_cutting() -> None:
    metadata = {"a": "x" * 2_000 + "-----BEGIN PRIVATE KEY-----"}
    assert shaped("S1", {"metadata": metadata}, MASKING)["metadata"] == {"a": MARKER}


# -- invisible characters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("char", "escape"),
    [
        ("\u202e", r"\u202e"),
        ("\u200b", r"\u200b"),
        ("\ufeff", r"\ufeff"),
        ("\u2066", r"\u2066"),
        ("\x85", r"\u0085"),
        ("\x7f", r"\u007f"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_an_invisible_character_is_written_as_an_escape(char: str, escape: str) -> None:
    encoded = encode({"a": f"x{char}y"})
    assert encoded == f'{{"a":"x{escape}y"}}'.encode()
    assert json.loads(encoded) == {"a": f"x{char}y"}


@given(st.text(), st.text())
def test_what_is_encoded_is_exact(key: str, value: str) -> None:
    assert json.loads(encode({key: value})) == {key: value}


def test_letters_of_any_script_stay() -> None:
    text = "Grüße 秘密 سر 🔑"
    assert visible(text) == text


# Marks of these scripts can be seen, though Unicode calls them format characters.
SEEN = {chr(c) for c in (0x6DD, 0x70F, 0x8E2, 0x110BD, 0x110CD)}
SEEN |= {chr(c) for c in (*range(0x600, 0x606), 0x890, 0x891, *range(0x13430, 0x13440))}


@pytest.mark.slow
def test_no_format_or_control_character_is_left() -> None:
    kinds = {"Cc", "Cf", "Zl", "Zp"}
    chars = {chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in kinds}
    left = set(encode("".join(sorted(chars - SEEN))).decode()) & chars
    assert left == set()


# -- size ----------------------------------------------------------------------------------------


def test_a_list_is_asked_again_with_half_three_times() -> None:
    limits = [50]
    while (limit := next_limit(limits[-1], len(limits) - 1)) is not None:
        limits.append(limit)
    assert limits == [50, 25, 12, 6]
    assert next_limit(1, 0) is None
    assert next_limit(0, 0) is None


def test_what_is_too_large_tells_path_and_version_only() -> None:
    error = too_large({"path": "app/db", "version": 3, "data": {"a": "hunter2"}, "id": 1})
    assert error.code == "RESULT_TOO_LARGE"
    assert error.members == {"path": "app/db", "version": 3}
    assert too_large({"path": ["x"], "items": []}).members == {}
