"""Slugs, canonical names, aliases and which of them is shown. Spec: remote-servers 3."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.remotes.rules.naming import (
    KNOWN_CLIENTS,
    TENANT_SCOPE,
    NameStyle,
    ParsedName,
    alias,
    canonical,
    clean,
    is_alias,
    listed_name,
    name_fault,
    parse,
    parse_resource,
    resource_prefix,
    scope_key,
    slug_of,
    style_for,
)

NAMES = st.text(max_size=120).filter(lambda text: not re.search("[\ud800-\udfff]", text))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme Notion MCP", "acme-notion-mcp-1ef47b"),
        ("  Acme \t Notion\u00a0\u3000MCP\n", "acme-notion-mcp-1ef47b"),
        ("acme notion mcp", "acme-notion-mcp-eac1a8"),
        ("Internal CRM MCP", "internal-crm-mcp-d46e58"),
        ("Shared GitHub MCP", "shared-github-mcp-69d428"),
        (unicodedata.normalize("NFC", "Café Zürich"), "cafe-zurich-da7465"),
        (unicodedata.normalize("NFD", "Café Zürich"), "cafe-zurich-da7465"),
        ("東京サーバー", "server-ed7383"),
        ("C++ / Rust: tools!", "c-rust-tools-63d318"),
        ("4D-Scan", "4d-scan-5f6ab6"),
        ("Straße №5", "strae-no5-68308c"),
        (
            "The Extremely Long Display Name Of A Hosted Server",
            "the-extremely-long-display-name-o-963506",
        ),
    ],
)
def test_a_display_name_has_the_slug_of_the_table(name: str, slug: str) -> None:
    assert slug_of(clean(name)) == slug


@given(NAMES)
def test_a_slug_is_short_kebab_case_and_cleaning_twice_changes_nothing(name: str) -> None:
    cleaned = clean(name)
    assert clean(cleaned) == cleaned
    assert clean(f" {name}\u2003") == cleaned
    slug = slug_of(cleaned)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{6}", slug)
    assert 8 <= len(slug) <= 40


@pytest.mark.row(8)
@pytest.mark.parametrize(
    ("name", "has_fault"),
    [
        ("A", False),
        ("東京", False),
        ("5", False),
        ("٣", False),
        ("a" * 100, False),
        ("👩\u200d🔬 lab", False),
        ("a" * 101, True),
        ("", True),
        (" \t\n", True),
        ("+-*/", True),
        ("²", True),
        ("A\u202eB", True),
        ("A\u200fB", True),
        ("A\u2066B", True),
        ("A\x00B", True),
        ("A\x1cB", True),
        ("A\x9bB", True),
        ("A\ud800B", True),
    ],
)
def test_a_display_name_needs_a_letter_and_no_control_character(name: str, has_fault: bool) -> None:
    assert (name_fault(clean(name)) is not None) == has_fault


@pytest.mark.parametrize(
    ("user_id", "scope"),
    [
        ("usr_42", "usr_42"),
        ("a" * 64, "a" * 64),
        ("alice@acme.example", "u-b29433513db8fe87"),
        ("tenant", "u-e9da86d351cf9a76"),
        ("u-1", "u-a24a7f55f278dd49"),
        ("tenant2", "tenant2"),
        ("u1", "u1"),
    ],
)
def test_a_user_has_the_scope_of_the_table(user_id: str, scope: str) -> None:
    assert scope_key(user_id) == scope


@given(st.text(max_size=80))
def test_no_user_gets_the_tenants_scope_or_anothers(user_id: str) -> None:
    scope = scope_key(user_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", scope)
    assert scope != TENANT_SCOPE
    assert (scope == user_id) != scope.startswith("u-")


@given(NAMES.filter(bool), st.text(max_size=70), NAMES)
def test_a_canonical_name_comes_apart_as_it_was_put_together(
    name: str, user_id: str, display: str
) -> None:
    scope, slug = scope_key(user_id), slug_of(clean(display))
    assert parse(canonical(scope, slug, name)) == ParsedName(scope, slug, name)
    assert parse_resource(resource_prefix(scope, slug) + name) == ParsedName(scope, slug, name)


def test_dots_of_the_upstream_belong_to_its_name() -> None:
    parsed = parse("remote.tenant.shared-github-mcp-69d428.repos.get.content")
    assert parsed == ParsedName("tenant", "shared-github-mcp-69d428", "repos.get.content")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "remote",
        "remote.tenant.a-b-123456",
        "remote.tenant.a-b-123456.",
        "remote.tenant.slug.search",
        "remote.ten ant.a-b-123456.search",
        "remote..a-b-123456.search",
        "remote.tenant.a--b-123456.search",
        f"remote.tenant.{'a' * 34}-123456.search",
        "other.tenant.a-b-123456.search",
        "chat_create",
        "r_acme-notion__search_wlikvxlq",
    ],
)
def test_another_name_is_no_canonical_name(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://a.example/",
        "scailink://remote/tenant/a-b-123456/",
        "scailink://remote/tenant/slug/file:///x",
        "scailink://remote/tenant/a-b-123456",
    ],
)
def test_another_uri_is_no_remote_resource(uri: str) -> None:
    assert parse_resource(uri) is None


def test_a_resource_keeps_its_uri_byte_for_byte() -> None:
    prefix = resource_prefix("usr_42", "acme-notion-mcp-1ef47b")
    assert prefix == "scailink://remote/usr_42/acme-notion-mcp-1ef47b/"
    for uri in ("file:///a b/%2F?x#y", "db://{table}/{id}", "//x"):
        parsed = parse_resource(prefix + uri)
        assert parsed is not None
        assert parsed.name == uri


LONG = "list_everything_that_was_changed_since_the_last_full_synchronisation_run"


@pytest.mark.parametrize(
    ("scope", "slug", "name", "length", "expected"),
    [
        ("usr_42", "acme-notion-mcp-1ef47b", "search", 43, "r_acme-notion__search_wlikvxlq"),
        (
            "u-b29433513db8fe87",
            "acme-notion-mcp-1ef47b",
            "search",
            55,
            "r_acme-notion__search_2uifwcsk",
        ),
        (
            "tenant",
            "shared-github-mcp-69d428",
            "create_issue",
            51,
            "r_shared-githu__create_issue_uvq35xza",
        ),
        (
            "tenant",
            "shared-github-mcp-69d428",
            "create__issue",
            52,
            "r_shared-githu__create_issue_nuhlpryb",
        ),
        (
            "tenant",
            "shared-github-mcp-69d428",
            "repos.get.content",
            56,
            "r_shared-githu__repos_get_content_zd7wgx76",
        ),
        ("tenant", "server-ed7383", "検索", 30, "r_server__tool_xk2rhmch"),
        (
            "tenant",
            "4d-scan-5f6ab6",
            "scan/start now",
            43,
            "r_4d-scan__scan_start_now_7yhey24c",
        ),
        (
            "tenant",
            "the-extremely-long-display-name-o-963506",
            LONG,
            127,
            "r_the-extremel__list_everything_that_wa_rbj5zz7j",
        ),
    ],
)
def test_a_name_has_the_alias_of_the_table(
    scope: str, slug: str, name: str, length: int, expected: str
) -> None:
    assert len(canonical(scope, slug, name)) == length
    assert alias(scope, slug, name) == expected
    assert is_alias(expected)


@given(st.text(max_size=80), NAMES, st.text(max_size=300))
def test_an_alias_is_always_safe_and_never_a_platform_tool(
    user_id: str, display: str, name: str
) -> None:
    safe = alias(scope_key(user_id), slug_of(clean(display)), name)
    assert re.fullmatch(r"r_[A-Za-z0-9_-]{1,46}", safe)
    assert "__" in safe
    assert is_alias(safe)


@pytest.mark.parametrize("name", ["r_", "search", "r_a.b", "r_" + "a" * 47, "R_a"])
def test_another_name_is_no_alias(name: str) -> None:
    assert not is_alias(name)


@pytest.mark.row(43)
@pytest.mark.parametrize(
    ("name", "style", "is_dotted"),
    [
        ("remote.tenant.a-b-123456.search", "dotted", True),
        ("remote.tenant.a-b-123456.search", "safe", False),
        ("remote.tenant.a-b-123456." + "a" * 103, "dotted", True),
        ("remote.tenant.a-b-123456." + "a" * 104, "dotted", False),
        ("remote.tenant.a-b-123456.scan/start", "dotted", False),
        ("remote.tenant.a-b-123456.start now", "dotted", False),
        ("remote.tenant.a-b-123456.検索", "dotted", False),
        ("remote.tenant.a-b-123456.search\n", "dotted", False),
    ],
)
def test_a_name_that_mcp_does_not_allow_is_listed_by_its_alias(
    name: str, style: NameStyle, is_dotted: bool
) -> None:
    assert listed_name(name, "r_alias", style) == (name if is_dotted else "r_alias")


@pytest.mark.parametrize(
    ("option", "client", "setting", "style"),
    [
        ("", "", "auto", "dotted"),
        ("", "some-client", "auto", "dotted"),
        ("", "claude-ai", "auto", "safe"),
        ("", "Claude-AI", "auto", "safe"),
        ("", "claude-ai (via mcp-remote 0.1.29)", "auto", "safe"),
        ("", "claude-code(1.0)", "auto", "safe"),
        ("", "claude-ai2", "auto", "dotted"),
        ("", "Visual Studio Code", "auto", "safe"),
        ("", "visual studio code", "auto", "safe"),
        ("", "Visual Studio Code - Insiders", "auto", "dotted"),
        ("", "Visual", "auto", "dotted"),
        ("", "claude-ai", "dotted", "dotted"),
        ("", "claude-ai", "safe", "safe"),
        ("", "some-client", "safe", "safe"),
        ("dotted", "claude-ai", "auto", "dotted"),
        ("dotted", "claude-ai", "safe", "dotted"),
        ("safe", "", "dotted", "safe"),
    ],
)
def test_the_first_of_url_client_and_setting_decides(
    option: str, client: str, setting: str, style: str
) -> None:
    assert style_for(option, client, setting) == style


def test_every_known_client_has_a_source() -> None:
    for client in KNOWN_CLIENTS:
        assert style_for("", client.name, "auto") == "safe"
        assert client.source.startswith("https://")
