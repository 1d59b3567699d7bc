"""The call log keeps what was sent, so that a test can look at a gateway's requests."""

import aiohttp

from scaimcp.dev.platform.calls import BODY_BYTES
from tests.platform.conftest import World


async def test_a_json_body_is_logged_decoded(world: World) -> None:
    await world.as_("tenant_user").post("/v1/sessions", {"model": "scailabs/echo-1"})
    await world.as_("tenant_user").get("/v1/me")
    calls = (await world.control.get("/calls")).json["calls"]
    assert [call["body"] for call in calls] == [{"model": "scailabs/echo-1"}, None]


async def test_a_form_is_logged_by_field_without_its_files_content(world: World) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"RIFF-secret", filename="a.wav", content_type="audio/wav")
    form.add_field("model", "scailabs/scribe-1")
    await world.as_("tenant_user")("POST", "/v1/inference/audio/transcribe", data=form)
    call = (await world.control.get("/calls")).json["calls"][-1]
    assert call["body"] == {
        "file": [{"filename": "a.wav", "content_type": "audio/wav", "size_bytes": 11}],
        "model": ["scailabs/scribe-1"],
    }


async def test_what_cannot_be_read_is_logged_as_text_and_a_long_body_not_at_all(
    world: World,
) -> None:
    caller = world.as_("tenant_user")
    headers = {"content-type": "application/json"}
    await caller("POST", "/v1/sessions", data=b"{half", headers=headers)
    await caller("POST", "/v1/sessions", data=b" " * (BODY_BYTES + 1), headers=headers)
    await caller(
        "POST", "/v1/sessions", data=b"no form", headers={"content-type": "multipart/form-data"}
    )
    calls = (await world.control.get("/calls")).json["calls"]
    assert [call["body"] for call in calls] == ["{half", None, "no form"]
