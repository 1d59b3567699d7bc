from __future__ import annotations

import base64
import socket
from pathlib import Path

import pytest

from scaimcp import settings
from scaimcp.dev.plan import (
    Address,
    DevOptions,
    default_data_dir,
    gateway_settings,
    inherited_environment,
    kept_key,
    plan_children,
    reserve_address,
    write_private,
)
from scaimcp.dev.processes import DevelopmentError
from scaimcp.dev.readiness import HttpOk
from scaimcp.dev.supervisor import Fact

LOOPBACK = Address("127.0.0.1", 8080)
FACTS = {
    "database_url": "postgresql://postgres@/postgres?host=/run/x",
    "redis_url": "unix:///run/x/valkey.sock",
    "platform_url": "http://127.0.0.1:9",
    "vault_url": "http://127.0.0.1:10",
}


def _settings(options: DevOptions, directory: Path, address: Address) -> settings.Settings:
    """Settings as the gateway will read them."""
    planned = gateway_settings(options, directory, address)
    return settings.load(
        {k: FACTS[v.name] if isinstance(v, Fact) else v for k, v in planned.items()}
    )


def test_the_gateway_accepts_the_planned_settings(tmp_path: Path) -> None:
    loaded = _settings(DevOptions(), tmp_path, LOOPBACK)
    required = ("public_url", "database_url", "redis_url", "state_keys", "encryption_local_kek")
    settings.require(loaded, *required)
    assert loaded.public_url == "http://127.0.0.1:8080"
    assert loaded.server_bind == ("127.0.0.1:8080",)
    assert loaded.platform_url == FACTS["platform_url"]
    assert loaded.platform_allow_http
    assert loaded.scaivault_url == FACTS["vault_url"]
    assert loaded.log_format == "console"
    assert loaded.server_allowed_hosts == ()


@pytest.mark.parametrize(
    ("url", "allowed"), [("https://grid.example", False), ("http://grid.example", True)]
)
def test_a_real_platform_replaces_the_stand_in(tmp_path: Path, url: str, allowed: bool) -> None:
    options = DevOptions(platform_url=url)
    loaded = _settings(options, tmp_path, LOOPBACK)
    assert (loaded.platform_url, loaded.platform_allow_http) == (url, allowed)
    assert loaded.scaivault_url is None
    children = plan_children(options, tmp_path, LOOPBACK)
    assert [child.name for child in children] == ["migrate", "worker", "gateway"]
    assert children[-1].after == ("migrate",)


@pytest.mark.parametrize(
    ("host", "origin"),
    [("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("host.example",) * 2],
)
def test_a_gateway_for_other_machines_knows_its_names(
    tmp_path: Path, host: str, origin: str
) -> None:
    address = Address(host, 80)
    loaded = _settings(DevOptions(host=host), tmp_path, address)
    assert not address.is_loopback
    assert loaded.public_url == "http://127.0.0.1:80"
    assert address.origin == (origin if "://" in origin else f"http://{host}:80")
    assert {"127.0.0.1", "localhost", socket.gethostname().lower()} <= loaded.hosts
    assert ("host.example" in loaded.hosts) == (host == "host.example")


@pytest.mark.parametrize(
    ("host", "bind"), [("localhost", "localhost:1"), ("::1", "[::1]:1"), ("127.0.0.2",) * 2]
)
def test_loopback_addresses_are_recognised(host: str, bind: str) -> None:
    address = Address(host, 1)
    assert address.is_loopback
    assert address.bind == (bind if ":" in bind else f"{host}:1")
    assert address.public_url == f"http://{address.bind}"


def test_gateway_and_worker_wait_for_schema_and_platform(tmp_path: Path) -> None:
    children = {child.name: child for child in plan_children(DevOptions(), tmp_path, LOOPBACK)}
    assert list(children) == ["platform", "vault", "migrate", "worker", "gateway"]
    assert children["platform"].after == ()
    assert children["vault"].after == ("platform",)
    assert str(tmp_path / "platform.json") in children["vault"].argv
    assert children["migrate"].after == ("stack",)
    assert children["migrate"].argv[1:] == ("-m", "scaimcp", "migrate")
    after = ("migrate", "platform", "vault")
    assert children["worker"].after == children["gateway"].after == after
    assert children["gateway"].ready == HttpOk("http://127.0.0.1:8080/readyz")


@pytest.mark.parametrize("limits", [True, False])
def test_the_stand_in_limits_rates_on_demand(tmp_path: Path, limits: bool) -> None:
    options = DevOptions(platform_rate_limits=limits)
    platform = plan_children(options, tmp_path, LOOPBACK)[0]
    assert ("--rate-limits" in platform.argv) is limits
    assert str(tmp_path / "platform.sqlite") in platform.argv


def test_secrets_travel_in_the_environment_only(tmp_path: Path) -> None:
    children = plan_children(DevOptions(), tmp_path, LOOPBACK)
    keys = [(tmp_path / name).read_text().strip() for name in ("state.key", "kek.key")]
    assert all(key not in word for key in keys for child in children for word in child.argv)


def test_a_free_port_is_chosen_and_a_taken_one_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert reserve_address("127.0.0.1", 0).port not in {0, port}
        with pytest.raises(DevelopmentError, match=f"cannot listen on 127.0.0.1 port {port}: Addr"):
            reserve_address("127.0.0.1", port)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(DevelopmentError, match=r"cannot listen on no\.such\.host\.invalid"):
        reserve_address("no.such.host.invalid", 0)


def test_a_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    key = kept_key(path)
    assert kept_key(path) == key
    assert len(base64.b64decode(key)) == 32
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_stored_and_what_is_handed_out_have_keys_of_their_own(tmp_path: Path) -> None:
    first = _settings(DevOptions(), tmp_path, LOOPBACK)
    again = _settings(DevOptions(), tmp_path, LOOPBACK)
    assert first.state_keys == again.state_keys
    assert first.encryption_local_kek == again.encryption_local_kek
    assert first.state_keys != first.encryption_local_kek


@pytest.mark.parametrize("content", ["", "not base64!", "c2hvcnQ="])
def test_a_damaged_key_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.key").write_text(content)
    with pytest.raises(DevelopmentError, match=r"state\.key holds no key; remove it"):
        kept_key(tmp_path / "state.key")


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a longer old content")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DevelopmentError, match=r"cannot write .*: No such file"):
        write_private(tmp_path / "missing" / "file", b"")


def test_children_inherit_no_setting_of_the_gateway() -> None:
    inherited = inherited_environment(
        {"SCAIMCP_LOG_LEVEL": "debug", "SCAIGRID_HOST": "x", "HOME": "/h"}
    )
    assert inherited == {"HOME": "/h", "PYTHONUNBUFFERED": "1"}


def test_the_data_directory_follows_the_users_settings() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/scaimcp/dev")
    home = Path.home() / ".local" / "share" / "scaimcp" / "dev"
    assert default_data_dir({}) == default_data_dir({"XDG_DATA_HOME": "relative"}) == home
