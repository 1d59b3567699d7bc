"""Document collections: chunks, delays, ranking, access."""

from typing import Any

import pytest

from scaimcp.dev.platform.endpoints.scaimatrix import chunks_of
from tests.platform.conftest import Answer, Starter, World
from tests.platform.helpers import actions, assert_needs, assert_walls, grant, shift, upload

ROOT = "/v1/modules/scaimatrix"
COLLECTIONS = f"{ROOT}/collections"
MODEL = "scailabs/embed-det-1"


@pytest.fixture
async def world(start: Starter) -> World:
    return await start(frozen_at=1_800_000_000, index_delay_seconds=4)


async def collection(world: World, name: str = "Notes", **body: Any) -> dict[str, Any]:
    order = {"name": name, "embedding_model": MODEL, **body}
    return dict((await world.as_("tenant_admin").post(COLLECTIONS, order)).data)


async def add(world: World, home: dict[str, Any], content: bytes | str, **values: str) -> Answer:
    path = f"{COLLECTIONS}/{home['id']}/documents"
    data = content.encode() if isinstance(content, str) else content
    return await upload(world.as_("tenant_admin"), path, data, **values)


async def search(world: World, home: dict[str, Any], query: str, **body: Any) -> list[Any]:
    path = f"{COLLECTIONS}/{home['id']}/search"
    answer = await world.as_("tenant_admin").post(path, {"query": query, **body})
    return list(answer.data["results"])


async def seeded(world: World, name: str) -> dict[str, Any]:
    return next(row for row in world.rows("collections") if row["name"] == name)


def test_paragraphs_are_chunks_and_long_ones_windows() -> None:
    assert chunks_of("a\nb\n \n\n\nc\n", 64, 0) == ["a\nb", "c"]
    assert chunks_of("\n \n", 64, 0) == []
    long = "x" * 256 + "y" * 100
    assert chunks_of(long, 64, 0) == ["x" * 256, "y" * 100]
    windows = chunks_of(long, 64, 16)
    assert [len(window) for window in windows] == [256, 164]
    assert windows[0][-64:] == windows[1][:64]
    assert chunks_of("z" * 256, 64, 63) == ["z" * 256]


async def test_a_new_collection_has_its_defaults(world: World) -> None:
    row = await collection(world, description="For notes.")
    assert row["id"].startswith("col_")
    assert (row["chunking_strategy"], row["chunk_size"], row["chunk_overlap"]) == ("fixed", 512, 50)
    assert (row["graph_enabled"], row["default_access"]) == (False, "tenant")
    assert (row["document_count"], row["storage_bytes"]) == (0, 0)
    assert row["user_permission"] == "manage"
    again = await world.as_("tenant_admin").get(f"{COLLECTIONS}/{row['id']}")
    assert again.data == row


async def test_the_lists_have_shape_c(world: World) -> None:
    admin = world.as_("tenant_admin")
    answer = await admin.get(f"{COLLECTIONS}?limit=1")
    assert set(answer.json) == {"data", "meta"}
    assert [row["name"] for row in answer.data] == ["Handbook"]
    assert answer.json["meta"]["has_more"] is True
    rest = await admin.get(f"{COLLECTIONS}?cursor={answer.json['meta']['next_cursor']}")
    assert [row["name"] for row in rest.data] == ["Board"]
    assert rest.json["meta"]["has_more"] is False
    handbook = answer.data[0]
    assert handbook["document_count"] == 2
    documents = await admin.get(f"{COLLECTIONS}/{handbook['id']}/documents")
    assert [row["name"] for row in documents.data] == ["holidays.md", "expenses.md"]
    assert {row["status"] for row in documents.data} == {"indexed"}
    assert documents.json["meta"]["has_more"] is False
    assert sum(row["size_bytes"] for row in documents.data) == handbook["storage_bytes"]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"name", "embedding_model"}),
        ({"chunk_size": 63, "chunk_overlap": 1025}, None),
        ({"chunk_size": 64, "chunk_overlap": 64}, {"chunk_overlap"}),
        ({"embedding_model": "scailabs/echo-1"}, {"embedding_model"}),
        ({"embedding_model": "none"}, {"embedding_model"}),
        ({"default_access": "all", "colour": 1}, None),
    ],
)
async def test_a_wrong_collection_is_422(
    world: World, body: dict[str, Any], faults: set[str] | None
) -> None:
    order = {"name": "x", "embedding_model": MODEL, **body} if body else {}
    answer = await world.as_("tenant_admin").post(COLLECTIONS, order)
    assert answer.faults == (faults or set(body))


async def test_a_name_is_taken_once_per_tenant(world: World) -> None:
    body = {"name": "Handbook", "embedding_model": MODEL}
    answer = await world.as_("tenant_admin").post(COLLECTIONS, body)
    assert (answer.status, answer.code) == (409, "SLUG_CONFLICT")
    assert (await world.as_("other_tenant_admin").post(COLLECTIONS, body)).status == 200
    homeless = await world.as_("super_admin").post(COLLECTIONS, {**body, "name": "y"})
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_a_document_is_indexed_after_the_delay(world: World) -> None:
    home, admin = await collection(world), world.as_("tenant_admin")
    answer = await add(world, home, "One.\n\nTwo.", name="n.md", metadata='{"year": 2025}')
    assert answer.status == 201
    row = answer.data
    assert row["id"].startswith("doc_")
    assert (row["collection_id"], row["name"], row["size_bytes"]) == (home["id"], "n.md", 10)
    assert (row["metadata"], row["chunk_count"], row["error"]) == ({"year": 2025}, 0, None)
    seen = [row["status"]]
    for _ in range(4):
        await shift(world, 1)
        row = (await admin.get(f"{ROOT}/documents/{row['id']}")).data
        seen.append(row["status"])
    assert seen == ["pending", "processing", "chunking", "embedding", "indexed"]
    assert row["chunk_count"] == 2
    await shift(world, -100)
    assert (await admin.get(f"{ROOT}/documents/{row['id']}")).data["status"] == "pending"


async def test_the_delay_can_be_nothing(start: Starter) -> None:
    world = await start(index_delay_seconds=0)
    assert (await add(world, await collection(world), "text")).data["status"] == "indexed"


async def test_only_indexed_documents_are_found(world: World) -> None:
    home = await collection(world)
    await add(world, home, "The red fox sleeps.\n\nThe blue whale swims.", name="animals.md")
    assert await search(world, home, "red fox") == []
    await shift(world, 4)
    found = await search(world, home, "red fox sleeps")
    assert [hit["content"] for hit in found] == ["The red fox sleeps.", "The blue whale swims."]
    assert found[0]["score"] > found[1]["score"]
    assert set(found[0]) == {"document_id", "document_name", "content", "score"}
    assert found[0]["document_name"] == "animals.md"
    exact = await search(world, home, "the blue whale swims", top_k=1)
    assert exact[0]["content"] == "The blue whale swims."
    assert exact[0]["score"] == pytest.approx(1.0)


async def test_words_and_both_ways_rank_too(world: World) -> None:
    home = await seeded(world, "Handbook")
    words = await search(world, home, "receipt taxis", search_type="keyword")
    assert [hit["score"] for hit in words] == [1.0, 0.5]
    assert words[0]["content"].startswith("Travel is booked")
    assert await search(world, home, "zebra", search_type="keyword") == []
    assert await search(world, home, "!!", search_type="keyword") == []
    both = await search(world, home, "receipt taxis", search_type="hybrid", top_k=50)
    assert len(both) == 4
    meaning = {hit["content"]: hit["score"] for hit in await search(world, home, "receipt taxis")}
    top = both[0]
    assert top["score"] == pytest.approx((meaning[top["content"]] + 1) / 2, abs=1e-5)


async def test_vectors_that_are_lost_score_nothing(world: World) -> None:
    home = await seeded(world, "Board")
    chunk = next(row for row in world.rows("chunks") if row["collection_id"] == home["id"])
    await world.control.patch(f"/rows/chunks/{chunk['id']}", {"vector": []})
    assert [hit["score"] for hit in await search(world, home, "board")] == [0.0]


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"query"}),
        ({"query": "", "top_k": 51}, {"query", "top_k"}),
        ({"query": "x", "search_type": "magic"}, {"search_type"}),
    ],
)
async def test_a_wrong_search_is_422(world: World, body: Any, faults: set[str]) -> None:
    home = await seeded(world, "Handbook")
    path = f"{COLLECTIONS}/{home['id']}/search"
    assert (await world.as_("tenant_admin").post(path, body)).faults == faults


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"\xff\xfe\x00", "The file is not UTF-8 text."), (b" \n\n ", "The file holds no text.")],
)
async def test_what_is_no_text_fails(world: World, content: bytes, error: str) -> None:
    home = await collection(world)
    row = (await add(world, home, content)).data
    assert (row["name"], row["status"], row["error"]) == ("file.md", "pending", None)
    await shift(world, 4)
    path = f"{COLLECTIONS}/{home['id']}/documents"
    admin = world.as_("tenant_admin")
    failed = (await admin.get(f"{path}?status=failed")).data
    assert [(row["status"], row["error"], row["chunk_count"]) for row in failed] == [
        ("failed", error, 0)
    ]
    assert (await admin.get(f"{path}?status=indexed")).data == []
    assert (await admin.get(f"{path}?status=x")).faults == {"status"}


async def test_an_upload_is_checked(world: World) -> None:
    home = await collection(world)
    assert (await add(world, home, b"")).faults == {"file"}
    assert (await add(world, home, b"x", metadata="[1]", colour="red")).faults == {
        "metadata",
        "colour",
    }
    large = await add(world, home, bytes(10_000_001))
    assert (large.status, large.code) == (413, "PAYLOAD_TOO_LARGE")
    path = f"{COLLECTIONS}/{home['id']}/documents"
    bare = await world.as_("tenant_admin").post(path, {"text": "x"})
    assert bare.code == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_quota_ends_uploads(world: World) -> None:
    home = await collection(world, storage_quota_bytes=10)
    assert (await add(world, home, "123456")).status == 201
    refused = await add(world, home, "12345")
    assert (refused.status, refused.code) == (429, "QUOTA_EXCEEDED")
    assert (await add(world, home, "1234")).status == 201


async def test_a_deleted_document_is_gone_with_its_chunks(world: World) -> None:
    home, admin = await collection(world), world.as_("tenant_admin")
    row = (await add(world, home, "One.\n\nTwo.")).data
    await shift(world, 4)
    assert len(await search(world, home, "one")) == 2
    assert (await admin.delete(f"{ROOT}/documents/{row['id']}")).status == 204
    assert await search(world, home, "one") == []
    assert (await admin.get(f"{ROOT}/documents/{row['id']}")).code == "DOCUMENT_NOT_FOUND"
    assert all(chunk["document_id"] != row["id"] for chunk in world.rows("chunks"))


async def test_a_restricted_collection_is_open_to_those_named(world: World) -> None:
    board = await seeded(world, "Board")
    document = next(r for r in world.rows("documents") if r["collection_id"] == board["id"])
    path = f"{COLLECTIONS}/{board['id']}"
    viewer, reader = world.as_("tenant_viewer"), world.as_("extra_permissions")
    assert [row["name"] for row in (await viewer.get(COLLECTIONS)).data] == ["Handbook"]
    assert (await viewer.get(path)).code == "COLLECTION_NOT_FOUND"
    hidden = await viewer.get(f"{ROOT}/documents/{document['id']}")
    assert hidden.code == "DOCUMENT_NOT_FOUND"
    assert (await reader.get(path)).data["user_permission"] == "read"
    await grant(world, "extra_permissions", "scaimatrix:ingest", "scaimatrix:view")
    refused = await upload(reader, f"{path}/documents", b"x")
    assert (refused.status, refused.code) == (403, "AUTHZ_PERMISSION_DENIED")
    kept = await reader.delete(f"{ROOT}/documents/{document['id']}")
    assert kept.code == "AUTHZ_PERMISSION_DENIED"
    assert (await world.as_("tenant_admin").get(path)).data["user_permission"] == "manage"


async def test_the_keys_tell_what_a_user_may_do(world: World) -> None:
    handbook = await seeded(world, "Handbook")
    path = f"{COLLECTIONS}/{handbook['id']}"
    for keys, expected in (
        (["view"], "read"),
        (["view", "ingest"], "write"),
        (["view", "ingest", "manage"], "manage"),
    ):
        caller = await grant(world, "tenant_user", *(f"scaimatrix:{key}" for key in keys))
        assert (await caller.get(path)).data["user_permission"] == expected
    own = {"name": "Mine", "embedding_model": MODEL, "default_access": "restricted"}
    mine = (await caller.post(COLLECTIONS, own)).data
    await grant(world, "tenant_user", "scaimatrix:view")
    assert (await caller.get(f"{COLLECTIONS}/{mine['id']}")).data["user_permission"] == "manage"


async def test_every_call_needs_its_permission(world: World) -> None:
    home = f"{COLLECTIONS}/{(await seeded(world, 'Handbook'))['id']}"
    document = f"{ROOT}/documents/none"
    for method, path, key in (
        ("GET", COLLECTIONS, "view"),
        ("GET", f"{home}/documents", "view"),
        ("GET", document, "view"),
        ("POST", COLLECTIONS, "manage"),
        ("POST", f"{home}/documents", "ingest"),
        ("DELETE", document, "ingest"),
        ("POST", f"{home}/search", "search"),
    ):
        await assert_needs(world, method, path, f"scaimatrix:{key}")


async def test_walls_stand_between_tenants(world: World) -> None:
    await assert_walls(world, "scaimatrix", "collections", "/collections", "COLLECTION_NOT_FOUND")
    await assert_walls(world, "scaimatrix", "documents", "/documents", "DOCUMENT_NOT_FOUND")
    other = world.as_("other_tenant_admin")
    home = f"{COLLECTIONS}/{(await seeded(world, 'Handbook'))['id']}"
    assert (await other.post(f"{home}/search", {"query": "x"})).code == "COLLECTION_NOT_FOUND"
    assert (await upload(other, f"{home}/documents", b"x")).code == "COLLECTION_NOT_FOUND"
    assert (await other.get(f"{home}/documents")).code == "COLLECTION_NOT_FOUND"


async def test_embedding_is_charged_and_changes_are_audited(world: World) -> None:
    home = await collection(world)
    row = (await add(world, home, "One.")).data
    await search(world, home, "one", search_type="keyword")
    await search(world, home, "one")
    await world.as_("tenant_admin").delete(f"{ROOT}/documents/{row['id']}")
    assert [usage["model"] for usage in world.rows("usage")] == [MODEL, MODEL]
    assert actions(world) == [
        "scaimatrix.collection.create",
        "scaimatrix.document.create",
        "scaimatrix.document.delete",
    ]
    named = [entry["resource_id"] for entry in world.rows("audit")]
    assert named == [home["id"], row["id"], row["id"]]
