"""Document collections: paragraph chunks, vectors, cosine ranking. Spec: scaigrid 11, 12."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import CHARACTERS_PER_TOKEN, WORD, embed
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, form_body, json_body
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found, refuse
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import embed_texts
from scaimcp.dev.platform.pages import shape_c, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.seed import SEED_LOGINS
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaimatrix"
VIEW, SEARCH, INGEST, MANAGE, ACCESS = (
    f"scaimatrix:{key}" for key in ("view", "search", "ingest", "manage", "access")
)
FILE_BYTES = 10_000_000
SCORE_DIGITS = 6
# What a document goes through until the delay has passed, each for an equal part of it.
STAGES = ("pending", "processing", "chunking", "embedding")
COLLECTION = (
    "name:str*, embedding_model:str*, description:str(<=2000),"
    "chunking_strategy:enum(fixed,paragraph,semantic,markdown,code)=fixed,"
    "chunk_size:int(64-8192)=512, chunk_overlap:int(0-1024)=50, graph_enabled:bool=false,"
    "graph_extraction_model:str, graph_max_nodes:int(>=1), graph_max_edges:int(>=1),"
    "storage_quota_bytes:int(>=1), default_access:enum(tenant,restricted)=tenant, metadata:map"
)
SEARCH_BODY = (
    "query:str(1-4000)*, top_k:int(1-50)=5, search_type:enum(semantic,keyword,hybrid)=semantic"
)
STATUS = "status:enum(pending,processing,chunking,embedding,indexed,failed,error)"
_collection = view(
    "id name description embedding_model chunking_strategy chunk_size chunk_overlap graph_enabled"
    " document_count storage_bytes default_access user_permission created_at"
)
_document = view("id collection_id name status size_bytes chunk_count error metadata created_at")


def _grant(call: Call, row: Row) -> str | None:
    """Return what the caller may do with a collection; None when it is closed to it."""
    if row["created_by"] == call.user_id or call.holds(ACCESS):
        return "manage"
    listed = row["access"].get(call.user_id)
    if listed is not None or row["default_access"] == "restricted":
        return None if listed is None else str(listed)
    if call.holds(MANAGE):
        return "manage"
    return "write" if call.holds(INGEST) else "read"


def _show(call: Call, row: Row) -> object:
    documents = call.table("documents").find(collection_id=row["id"])
    return _collection(
        {
            **row,
            "document_count": len(documents),
            "storage_bytes": sum(document["size_bytes"] for document in documents),
            "user_permission": _grant(call, row),
        }
    )


def _find(call: Call, collection_id: str, noun: str = "COLLECTION") -> Row:
    row = call.find("collections", collection_id, noun)
    if _grant(call, row) is None:
        raise not_found(noun)
    return row


def _own(call: Call) -> Row:
    return _find(call, call.params["collection_id"])


def _demand_write(call: Call, collection: Row) -> None:
    if _grant(call, collection) == "read":
        raise PlatformError("AUTHZ_PERMISSION_DENIED", "The collection is open for reading only.")


def list_collections(call: Call) -> Reply:
    """List the collections that are open to the caller."""
    rows = [row for row in call.rows("collections") if _grant(call, row) is not None]
    return shape_c(call, rows, lambda row: _show(call, row))


def get_collection(call: Call) -> object:
    """Return one collection."""
    return _show(call, _own(call))


def _check_collection(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if body["chunk_overlap"] >= body["chunk_size"]:
        yield "chunk_overlap", "must be smaller than chunk_size"


def create_collection(call: Call) -> object:
    """Add an empty collection."""
    body, models = call.body, call.table("models")
    if models.first(slug=body["embedding_model"], modality="embedding") is None:
        refuse("embedding_model", "is not an embedding model")
    if call.table("collections").first(tenant_id=call.tenant_id, name=body["name"]):
        raise conflict("The name is taken.", "SLUG_CONFLICT")
    row = {
        "description": "",
        "storage_quota_bytes": None,
        "metadata": {},
        **body,
        "tenant_id": call.tenant_id,
        "created_by": call.user_id,
        "access": {},
    }
    return _show(call, call.created("collections", row))


def _status(call: Call, row: Row) -> str:
    left = row["index_at"] - call.platform.clock.now()
    if left <= 0:
        return "failed" if row["error"] else "indexed"
    # A clock that was set back leaves more than the whole delay.
    whole = max(call.platform.config.index_delay_seconds, left)
    return STAGES[min(int(len(STAGES) * (1 - left / whole)), len(STAGES) - 1)]


def _show_document(call: Call, row: Row) -> object:
    status = _status(call, row)
    shown = {**row, "status": status}
    if status != "indexed":
        shown["chunk_count"] = 0
    if status != "failed":
        shown["error"] = None
    return _document(shown)


def list_documents(call: Call) -> Reply:
    """List the documents of a collection."""
    rows = call.table("documents").find(collection_id=_own(call)["id"])
    wanted = call.query.get("status")
    if wanted is not None:
        rows = [row for row in rows if _status(call, row) == wanted]
    return shape_c(call, rows, lambda row: _show_document(call, row))


def _find_document(call: Call) -> tuple[Row, Row]:
    """Return a document and its collection."""
    row = call.find("documents", call.params["document_id"], "DOCUMENT")
    return row, _find(call, row["collection_id"], "DOCUMENT")


def get_document(call: Call) -> object:
    """Return one document's record."""
    return _show_document(call, _find_document(call)[0])


def delete_document(call: Call) -> None:
    """Remove a document with its chunks."""
    row, collection = _find_document(call)
    _demand_write(call, collection)
    for chunk in call.table("chunks").find(document_id=row["id"]):
        call.table("chunks").delete(chunk["id"])
    call.table("documents").delete(row["id"])


def chunks_of(text: str, size: int, overlap: int) -> list[str]:
    """Return the paragraphs of a text; longer ones in windows.

    Args:
        text: paragraphs are separated by blank lines.
        size: largest chunk in tokens.
        overlap: tokens that neighbouring windows share, fewer than `size`.
    """
    width = size * CHARACTERS_PER_TOKEN
    step = width - overlap * CHARACTERS_PER_TOKEN
    blank_lines = "\n".join(line.strip() for line in text.splitlines()).split("\n\n")
    found: list[str] = []
    for paragraph in (part.strip() for part in blank_lines):
        starts = range(0, max(len(paragraph) - width, 0) + step, step)
        found += [piece for piece in (paragraph[at : at + width] for at in starts) if piece]
    return found


def _text(content: bytes) -> tuple[str, str | None]:
    """Return the text of a file and why it cannot be indexed."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "", "The file is not UTF-8 text."
    return text, None if text.strip() else "The file holds no text."


async def ingest(call: Call) -> Reply:
    """Add a document; it is found after the delay."""
    collection, part = _own(call), call.body["file"]
    _demand_write(call, collection)
    quota = collection["storage_quota_bytes"]
    stored = call.table("documents").find(collection_id=collection["id"])
    if quota is not None and sum(d["size_bytes"] for d in stored) + len(part.content) > quota:
        raise PlatformError("QUOTA_EXCEEDED", "The collection's storage quota is used up.")
    text, error = _text(part.content)
    texts = chunks_of(text, collection["chunk_size"], collection["chunk_overlap"])
    vectors: list[list[float]] = []
    if texts:
        vectors, _ = await embed_texts(call, collection["embedding_model"], texts)
    row = {
        "name": call.body.get("name") or part.filename or "document",
        "metadata": call.body.get("metadata", {}),
        "size_bytes": len(part.content),
        "error": error,
        "index_at": call.platform.clock.now() + call.platform.config.index_delay_seconds,
    }
    stored_row = _store(call.platform, collection, row, list(zip(texts, vectors, strict=True)))
    call.resource_id = stored_row["id"]
    return Reply(_show_document(call, stored_row))


def _store(
    platform: Platform, collection: Row, row: Row, chunks: Sequence[tuple[str, list[float]]]
) -> Row:
    home = {"tenant_id": collection["tenant_id"], "collection_id": collection["id"]}
    document = platform.store["documents"].insert({**row, **home, "chunk_count": len(chunks)})
    for content, vector in chunks:
        platform.store["chunks"].insert(
            {**home, "document_id": document["id"], "content": content, "vector": vector}
        )
    return document


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    # Vectors of a forwarded model need not have unit length, nor the length they once had.
    dot = sum(a * b for a, b in zip(left, right, strict=False))
    length = math.hypot(*left) * math.hypot(*right)
    return dot / length if length else 0.0


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def _shared(query: set[str], text: str) -> float:
    return len(query & _words(text)) / len(query) if query else 0.0


async def search(call: Call) -> Row:
    """Return the best chunks of the indexed documents."""
    collection, body = _own(call), call.body
    documents = call.table("documents").find(collection_id=collection["id"])
    names = {row["id"]: row["name"] for row in documents if _status(call, row) == "indexed"}
    chunks = call.table("chunks").find(collection_id=collection["id"])
    score = await _scorer(call, collection)
    ranked = sorted(
        ((score(chunk), chunk) for chunk in chunks if chunk["document_id"] in names),
        key=lambda pair: (-pair[0], pair[1]["_seq"]),
    )
    if body["search_type"] == "keyword":
        ranked = [pair for pair in ranked if pair[0] > 0]
    results = [
        {
            "document_id": chunk["document_id"],
            "document_name": names[chunk["document_id"]],
            "content": chunk["content"],
            "score": round(value, SCORE_DIGITS),
        }
        for value, chunk in ranked[: body["top_k"]]
    ]
    return {"results": results}


async def _scorer(call: Call, collection: Row) -> Callable[[Row], float]:
    """Return what scores a chunk: by vector, by shared words, or the mean of both."""
    kind, query = call.body["search_type"], call.body["query"]
    words = _words(query)
    if kind == "keyword":
        return lambda chunk: _shared(words, chunk["content"])
    vectors, _ = await embed_texts(call, collection["embedding_model"], [query])
    vector = vectors[0]
    if kind == "semantic":
        return lambda chunk: _cosine(vector, chunk["vector"])
    return lambda chunk: (_cosine(vector, chunk["vector"]) + _shared(words, chunk["content"])) / 2


# tenant, collection, whether everyone may read it, documents by name
SAMPLES: tuple[tuple[str, str, bool, dict[str, str]], ...] = (
    (
        "acme",
        "Handbook",
        True,
        {
            "holidays.md": "Employees have 25 days of holiday a year.\n\n"
            "Ask your manager for leave two weeks before it begins.",
            "expenses.md": "Keep the receipt of every expense.\n\n"
            "Travel is booked by the office; taxis need a receipt.",
        },
    ),
    ("acme", "Board", False, {"minutes.md": "The board approved the budget for the new office."}),
    ("globex", "Catalogue", True, {"rockets.md": "The rocket catalogue lists every engine."}),
)


def _seed(platform: Platform) -> None:
    users = platform.store["users"]
    reader = users.find(email=SEED_LOGINS["extra_permissions"])[0]["id"]
    for slug, name, is_open, documents in SAMPLES:
        row: Row = {
            "name": name,
            "description": f"Sample collection {name}.",
            "embedding_model": "scailabs/embed-det-1",
            "chunking_strategy": "paragraph",
            "chunk_size": 512,
            "chunk_overlap": 50,
            "graph_enabled": False,
            "storage_quota_bytes": None,
            "default_access": "tenant" if is_open else "restricted",
            "metadata": {},
            "created_by": None,
            "access": {} if is_open else {reader: "read"},
        }
        collection = insert_samples(platform, "collections", slug, [row])[0]
        for file_name, text in documents.items():
            document = {
                "name": file_name,
                "metadata": {},
                "size_bytes": len(text.encode()),
                "error": None,
                "index_at": 0,
                "created_at": collection["created_at"],
            }
            texts = chunks_of(text, row["chunk_size"], row["chunk_overlap"])
            _store(platform, collection, document, [(part, embed(part)) for part in texts])


COLLECTIONS, ONE = "/collections", "/collections/{collection_id}"
DOCUMENTS, DOCUMENT = f"{ONE}/documents", "/documents/{document_id}"

FAMILY = Family(
    tables=(
        TableSpec("collections", "col_", ("tenant_id",)),
        TableSpec("documents", "doc_", ("collection_id",)),
        TableSpec("chunks", "chk_", ("document_id", "collection_id")),
    ),
    seed=_seed,
    endpoints=(
        Endpoint(
            "GET", COLLECTIONS, VIEW, list_collections, module=MODULE_ID, query=fields("@page")
        ),
        Endpoint("GET", ONE, VIEW, get_collection, module=MODULE_ID),
        Endpoint(
            "POST",
            COLLECTIONS,
            MANAGE,
            create_collection,
            module=MODULE_ID,
            body=json_body(COLLECTION, _check_collection),
            audit="scaimatrix.collection.create",
        ),
        Endpoint(
            "GET",
            DOCUMENTS,
            VIEW,
            list_documents,
            module=MODULE_ID,
            query=fields(f"@page, {STATUS}"),
        ),
        Endpoint("GET", DOCUMENT, VIEW, get_document, module=MODULE_ID),
        Endpoint(
            "POST",
            DOCUMENTS,
            INGEST,
            ingest,
            module=MODULE_ID,
            body=form_body(f"file:file(1-{FILE_BYTES})*, name:str, metadata:map"),
            audit="scaimatrix.document.create",
            status=201,
        ),
        Endpoint(
            "DELETE",
            DOCUMENT,
            INGEST,
            delete_document,
            module=MODULE_ID,
            audit="scaimatrix.document.delete",
        ),
        Endpoint(
            "POST", f"{ONE}/search", SEARCH, search, module=MODULE_ID, body=json_body(SEARCH_BODY)
        ),
    ),
)
