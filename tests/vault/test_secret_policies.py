"""Secret policies: nine generators with real keys and hashes."""

import base64
import hashlib
import re
import string
import uuid
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.vault.conftest import START, World

BASE = "/v1/secret-policies"


async def create(world: World, *fields: Any, **body: Any) -> Any:
    rows = [{"name": f"f{n}", "generator": g, "config": c} for n, (g, c) in enumerate(fields)]
    body = {"name": "recipe", "policy_type": "custom", "fields": rows, **body}
    return await world.agent.post(BASE, body)


async def preview(world: World, generator: str, **config: Any) -> Any:
    """Return one generated value."""
    policy = (await create(world, (generator, config))).data
    made = (await world.agent.post(f"{BASE}/{policy['id']}/preview")).data
    assert made["policy_id"] == policy["id"]
    assert made["stored"] is False
    return made["values"]["f0"]


def load(pair: dict[str, str]) -> Any:
    """Return the private key of a pair whose halves belong together."""
    private = serialization.load_pem_private_key(pair["private_key"].encode(), None)
    public = serialization.load_pem_public_key(pair["public_key"].encode())
    assert private.public_key() == public
    return private


async def test_a_random_value_keeps_length_and_charset(world: World) -> None:
    value = await preview(world, "random", length=50, charset="numeric")
    assert re.fullmatch(r"[0-9]{50}", value)


async def test_a_random_value_holds_every_required_kind(world: World) -> None:
    kinds = ("upper", "lower", "digit", "symbol")
    config = {f"require_{kind}": True for kind in kinds}
    value = await preview(world, "random", length=4, charset="safe", **config)
    pools = (string.ascii_uppercase, string.ascii_lowercase, string.digits, "-_.~!@#%^*+=")
    assert [sum(c in pool for c in value) for pool in pools] == [1, 1, 1, 1]


async def test_a_random_value_is_32_letters_and_digits_by_default(world: World) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{32}", await preview(world, "random"))


async def test_hex_has_the_asked_length_even_an_odd_one(world: World) -> None:
    assert re.fullmatch(r"[0-9a-f]{7}", await preview(world, "hex", length=7))


@pytest.mark.parametrize("version", [4, 7])
async def test_a_uuid_is_of_the_asked_version(world: World, version: int) -> None:
    value = uuid.UUID(await preview(world, "uuid", version=version))
    assert (value.version, value.variant) == (version, uuid.RFC_4122)
    if version == 7:
        assert value.int >> 80 == int(START * 1000)


async def test_a_template_is_filled(world: World) -> None:
    text = "a-{{random:5}}-{{hex:3}}-{{uuid}}-{{timestamp}}-{{other}}"
    value = await preview(world, "template", template=text)
    pattern = rf"a-[A-Za-z0-9]{{5}}-[0-9a-f]{{3}}-([0-9a-f-]{{36}})-{int(START)}-{{{{other}}}}"
    match = re.fullmatch(pattern, value)
    assert match
    assert uuid.UUID(match[1]).version == 4


async def test_an_rsa_pair_is_a_real_one(world: World) -> None:
    key = load(await preview(world, "rsa_keypair", bits=2048))
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


async def test_an_ec_pair_is_a_real_one(world: World) -> None:
    key = load(await preview(world, "ec_keypair", curve="P-384"))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP384R1)


@pytest.mark.parametrize("kind", [ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey])
async def test_an_ssh_pair_is_a_real_one(world: World, kind: type) -> None:
    name = "rsa" if kind is rsa.RSAPrivateKey else "ed25519"
    pair = await preview(world, "ssh_keypair", key_type=name, comment="ci@example")
    private = serialization.load_ssh_private_key(pair["private_key"].encode(), None)
    public = serialization.load_ssh_public_key(pair["public_key"].encode())
    assert isinstance(private, kind)
    assert private.public_key() == public
    assert pair["public_key"].endswith(" ci@example")


async def test_the_hash_belongs_to_the_password_and_names_its_kind(world: World) -> None:
    made = await preview(world, "bcrypt_hash", length=12, rounds=4)
    _, name, cost, salt, digest = made["hash"].split("$")
    assert (name, cost, made["hash_type"]) == ("scrypt", "ln=4,r=8,p=1", "scrypt")
    raw = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in (salt, digest))
    given, expected = raw
    password = made["password"].encode()
    assert len(password) == 12
    assert hashlib.scrypt(password, salt=given, n=16, r=8, p=1) == expected


async def test_the_hash_takes_its_highest_cost(world: World) -> None:
    assert "ln=14," in (await preview(world, "bcrypt_hash", rounds=14))["hash"]


async def test_a_static_value_is_what_was_configured(world: World) -> None:
    assert await preview(world, "static", value="eu-west-1") == "eu-west-1"


async def test_two_previews_differ_and_nothing_is_stored(world: World) -> None:
    policy = (await create(world, ("random", {}), ("static", {"value": 7}))).data
    url = f"{BASE}/{policy['id']}/preview"
    first, second = [(await world.agent.post(url)).data["values"] for _ in range(2)]
    assert (first["f1"], first["f0"] == second["f0"]) == (7, False)
    assert (await world.agent.get(f"{BASE}/{policy['id']}")).data == policy


async def test_a_created_policy_is_shown_and_listed(world: World) -> None:
    policy = (await create(world, ("hex", {"length": 8}), description="for tests")).data
    assert policy["fields"] == [{"name": "f0", "generator": "hex", "config": {"length": 8}}]
    assert (policy["is_active"], policy["policy_type"]) == (True, "custom")
    assert datetime.fromisoformat(policy["created_at"]).timestamp() == START
    await create(world, ("hex", {}), name="other", policy_type="password")
    listed = (await world.agent.get(f"{BASE}?policy_type=custom&active_only=true")).data
    assert listed["policies"] == [policy]
    assert len((await world.agent.get(BASE)).data["policies"]) == 2


@pytest.mark.parametrize(
    ("generator", "config", "field"),
    [
        ("guess", {}, "fields[0].generator"),
        ("random", {"length": 3}, "fields[0].config.length"),
        ("random", {"charset": "emoji"}, "fields[0].config.charset"),
        ("hex", {"size": 8}, "fields[0].config.size"),
        ("uuid", {"version": 1}, "fields[0].config.version"),
        ("rsa_keypair", {"bits": 512}, "fields[0].config.bits"),
        ("rsa_keypair", {"bits": [2048]}, "fields[0].config.bits"),
        ("ec_keypair", {"curve": {}}, "fields[0].config.curve"),
        ("bcrypt_hash", {"rounds": 20}, "fields[0].config.rounds"),
        ("template", {}, "fields[0].config.template"),
        ("static", {}, "fields[0].config.value"),
    ],
)
async def test_a_field_that_cannot_generate_is_refused(
    world: World, generator: str, config: dict[str, Any], field: str
) -> None:
    answer = await create(world, (generator, config))
    assert answer.refusal == (422, "validation_error")
    assert answer.json["error"]["details"]["fields"][0]["field"] == field


async def test_an_unknown_policy_and_a_taken_name_are_refused(world: World) -> None:
    for method, path in (("GET", "sp_none"), ("POST", "sp_none/preview")):
        answer = await world.agent(method, f"{BASE}/{path}")
        assert answer.refusal == (404, "secret_policy_not_found")
    await create(world, ("hex", {}))
    assert (await create(world, ("hex", {}))).refusal == (409, "conflict")
    assert (await create(world, name="empty")).refusal == (422, "validation_error")
