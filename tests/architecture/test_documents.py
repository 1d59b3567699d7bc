"""Pages made from the code are up to date, and links lead somewhere."""

import re
import subprocess

import pytest

from tests.architecture.documents import PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), (
        "renew it with: python -m tests.architecture.documents"
    )


def tracked(*patterns: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    broken = [
        f"{name}: {target}"
        for name in tracked("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8"))
        if "://" not in target and not ((ROOT / name).parent / target).exists()
    ]
    assert broken == []


def test_no_tracked_file_names_the_host_of_a_package_registry() -> None:
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com"]
    found = [
        f"{name}: {host}"
        for name in tracked()
        for host in hosts
        if host.encode() in (ROOT / name).read_bytes()
    ]
    assert found == []


def test_locked_requirements_have_hashes_and_no_addresses() -> None:
    for name in tracked("deploy/requirements/*.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "--hash=sha256:" in text, name
        assert "://" not in text, name


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    missing = [name for name in tracked("docs/adr/0*.md") if name.rpartition("/")[2] not in index]
    assert missing == []
