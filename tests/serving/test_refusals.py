"""A start that must not be: exit code 5, one clear line, no traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.serving.certificate import make_certificate
from tests.serving.process import Launcher

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SERVER_WORKER": "2"}, "unknown setting SCAIMCP_SERVER_WORKER; did you mean"),
        ({"PUBLIC_URL": None}, "missing setting: SCAIMCP_PUBLIC_URL"),
        ({"STATE_KEYS": None, "REDIS_URL": None}, "SCAIMCP_REDIS_URL, SCAIMCP_STATE_KEYS"),
        ({"STATE_KEYS": "c2hvcnQ="}, "SCAIMCP_STATE_KEYS holds a key that is not 32 random bytes"),
        ({"SERVER_BIND": "nowhere"}, "SCAIMCP_SERVER_BIND takes host:port or unix:/path"),
        ({"SERVER_BIND": "no.such.host.invalid:0"}, "cannot listen on no.such.host.invalid:0: "),
        ({"SERVER_BIND": "unix:/no/such/folder/x"}, "/no/such/folder/x: No such file or directory"),
        ({"METRICS_BIND": "192.0.2.1:0"}, "cannot listen on 192.0.2.1:0: Cannot assign requested"),
        ({"SERVER_WORKERS": "0"}, "SCAIMCP_SERVER_WORKERS is not between 1 and 64"),
        ({"SERVER_ENGINE": "gunicorn"}, "SCAIMCP_SERVER_ENGINE is not one of"),
        ({"SCAIVAULT_ALLOWED_PATHS": "App"}, "SCAIVAULT_ALLOWED_PATHS entry 1 is not a valid path"),
        ({"REMOTE_DENIED_CIDRS": "10.0.0.0/99"}, "SCAIMCP_REMOTE_DENIED_CIDRS"),
        ({"SERVER_ENGINE": "uvicorn", "SERVER_HTTP2": "1"}, "HTTP2 needs the hypercorn engine"),
        ({"SERVER_TLS_CERT_FILE": "/c"}, "SCAIMCP_SERVER_TLS_CERT_FILE and _KEY_FILE go together"),
        (
            {"SERVER_TLS_CERT_FILE": "/no/cert", "SERVER_TLS_KEY_FILE": "/no/key"},
            "_KEY_FILE cannot be used: No such file or directory",
        ),
    ],
)
async def test_settings_that_cannot_be_used_are_told(
    launch: Launcher, settings: dict[str, str | None], said: str
) -> None:
    code, output = await launch.refused(**settings)
    assert code == 5
    assert said in output
    assert output.startswith("scaimcp: ")
    assert output.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_in_use_is_told(launch: Launcher, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        binds = f"127.0.0.1:0,{bind}"
        code, said = await launch.refused(SERVER_BIND=binds, SERVER_WORKERS=workers)
    assert (code, said) == (5, f"scaimcp: cannot listen on {bind}: Address already in use\n")


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nno\n"])
async def test_a_certificate_that_is_none_is_told(
    launch: Launcher, place: Path, name: str, content: str
) -> None:
    settings = make_certificate(place)
    (place / name).write_text(content)
    code, said = await launch.refused(**settings)
    assert code == 5
    assert said.startswith("scaimcp: SCAIMCP_SERVER_TLS_CERT_FILE and _KEY_FILE cannot be used: ")
    assert said.count("\n") == 1


async def test_no_socket_file_stays_behind_a_start_that_fails(
    launch: Launcher, place: Path
) -> None:
    path = place / "gateway.sock"
    code, _ = await launch.refused(SERVER_BIND=f"unix:{path},unix:/no/such/folder/x")
    assert code == 5
    assert not path.exists()
