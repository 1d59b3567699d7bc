"""What an operator may decide about questions. Spec: remote-servers 9, 13."""

from __future__ import annotations

from tests.integration.remotes.consenting import start_consenting


async def test_an_operator_may_let_programs_decide(database_url: str, redis_url: str) -> None:
    settings = {"REMOTE_CONSENT_ALLOW_API_KEYS": "true"}
    template = "https://portal.example/consent?id={id}"
    async with start_consenting(
        database_url, redis_url, **settings, REMOTE_APPROVAL_URL_TEMPLATE=template
    ) as it:
        called = await it.asked(it.program("2025-11-25"), {"a": "operator"})
        approval_id = called.error["approval_id"]
        assert called.error["approval_url"] == f"https://portal.example/consent?id={approval_id}"
        assert (await it.decide(it.program(), approval_id)).status == 200
        token = await it.sign_in(client_id="cli_1", role="tenant_admin")
        reply = await it.decide(it.person(token), approval_id, arguments_digest="00" * 32)
        assert reply.status == 403
