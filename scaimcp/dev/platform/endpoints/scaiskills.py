"""Skills: written instructions, read only. Spec: scaigrid 11."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import WORD
from scaimcp.dev.platform.endpoint import Endpoint, Family, json_body
from scaimcp.dev.platform.errors import not_found
from scaimcp.dev.platform.pages import cut, view
from scaimcp.dev.platform.samples import insert_samples
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "scaiskills"
VIEW = "scaiskills:view"
MAIN_FILE = "SKILL.md"
_skill = view("slug description visibility version")


def _visible(call: Call) -> list[Row]:
    """Return the platform's skills and the tenant's own."""
    rows = call.table("skills").all()
    return [row for row in rows if row["tenant_id"] is None or call.sees_tenant(row["tenant_id"])]


def list_skills(call: Call) -> Row:
    """List the skills the caller may read; the page is asked for in the body."""
    call.query = call.body
    page = cut(call, _visible(call))
    return {
        "items": [_skill(row) for row in page.rows],
        "has_more": page.next is not None,
        "next_cursor": page.next,
    }


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def search(call: Call) -> Row:
    """Return the skills that share most words with the query; the score is that share."""
    query, limit = _words(call.body["query"]), call.body["limit"]
    scored = [
        (len(query & _words(f"{row['slug']} {row['description']}")) / len(query), row)
        for row in _visible(call)
        if query
    ]
    matches = [pair for pair in sorted(scored, key=lambda pair: -pair[0]) if pair[0] > 0]
    return {
        "items": [{**_skill(row), "score": round(score, 4)} for score, row in matches[:limit]],
        "has_more": len(matches) > limit,
        "next_cursor": None,
    }


def show(call: Call) -> Row:
    """Return one file of a skill, its main file unless asked, of its newest version likewise."""
    body = call.body
    row = next((row for row in _visible(call) if row["slug"] == body["slug"]), None)
    if row is None:
        raise not_found("SCAISKILLS_SKILL")
    version, path = body.get("version", row["version"]), body.get("path") or MAIN_FILE
    files = row["versions"].get(version)
    if files is None:
        raise not_found("SCAISKILLS_VERSION")
    if path not in files:
        raise not_found("SCAISKILLS_FILE")
    return {
        "slug": row["slug"],
        "version": version,
        "path": path,
        "content": files[path],
        "files": sorted(files),
    }


def _sample(slug: str, description: str, *texts: str, **further: str) -> Row:
    """Return a skill with one version for each text, and further files in the newest."""
    versions = {f"{number}.0.0": {MAIN_FILE: text} for number, text in enumerate(texts, 1)}
    newest = f"{len(texts)}.0.0"
    versions[newest].update({f"{name}.md": text for name, text in further.items()})
    return {"slug": slug, "description": description, "version": newest, "versions": versions}


SAMPLES: dict[str, list[Row]] = {
    "": [
        _sample(
            "release-notes",
            "Write release notes from a list of changes.",
            "# Release notes\nList the changes.\n",
            "# Release notes\nGroup the changes by kind, the most important first.\n",
            example="# 1.2.0\n- Faster search\n",
        ),
        _sample(
            "code-review",
            "Review a change for errors and style.",
            "# Code review\nRead the tests first.\n",
        ),
    ],
    "acme": [
        _sample(
            "acme-tone",
            "Write texts in the tone of Acme.",
            "# Tone\nShort sentences, no exclamation marks.\n",
        )
    ],
    "globex": [
        _sample(
            "globex-tone",
            "Write texts in the tone of Globex.",
            "# Tone\nLong sentences, and many of them.\n",
        )
    ],
}


def _seed(platform: Platform) -> None:
    for slug, rows in SAMPLES.items():
        visibility = "tenant" if slug else "public"
        insert_samples(
            platform, "skills", slug, [{**row, "visibility": visibility} for row in rows]
        )


ROOT = "/mcp/skills"
# Reads in spite of their method, hence no audit row.
FAMILY = Family(
    tables=(TableSpec("skills", "skl_", ("slug",)),),
    seed=_seed,
    endpoints=(
        Endpoint(
            "POST", f"{ROOT}/list", VIEW, list_skills, module=MODULE_ID, body=json_body("@page")
        ),
        Endpoint(
            "POST",
            f"{ROOT}/search",
            VIEW,
            search,
            module=MODULE_ID,
            body=json_body("query:str(1-400)*, limit:int(1-50)=10"),
        ),
        Endpoint(
            "POST",
            f"{ROOT}/view",
            VIEW,
            show,
            module=MODULE_ID,
            body=json_body("slug:str(3-64)*, path:str(<=512), version:str"),
        ),
    ),
)
