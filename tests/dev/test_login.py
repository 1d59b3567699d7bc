"""`scaimcp dev` signs browsers in at the stand-in, without any setting. Spec: mcp-configs 4.4."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urljoin

import pytest

from scaimcp.dev.standin import LOGINS
from tests.dev.running import Dev, leave_nothing_running

__all__ = ["leave_nothing_running"]

pytestmark = pytest.mark.slow
Page = tuple[int, str, str]


class Browser:
    """Keeps cookies and follows redirects; with the standard library only."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def open(self, url: str) -> Page:
        """Return status, address and HTML."""
        try:
            with self._opener.open(url, timeout=30) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.url, refusal.read().decode()


def test_a_browser_signs_in_at_the_stand_in_and_comes_back(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    url = f"{dev.wait_ready()['rest_url']}/approvals/apr_{'0' * 26}"
    browser = Browser()
    status, _, page = browser.open(url)
    assert (status, "access token" in page) == (200, True)
    link = re.search(r'href="([^"]+)"', page)
    assert link is not None
    status, address, page = browser.open(unescape(link[1]))
    assert (status, "not ScaiGrid" in page) == (200, True)
    action = re.search(r'<form action="([^"]+)"', page)
    assert action is not None
    hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)
    fields = {name: unescape(value) for name, value in hidden} | {"login": LOGINS["tenant_user"]}
    there = urljoin(address, action[1])
    status, address, page = browser.open(f"{there}?{urlencode(fields)}")
    assert (status, address) == (403, url)
    assert "Nothing is asked of you" in page
    assert {cookie.name for cookie in browser.cookies} == {"scaimcp_session", "scaimcp_browser"}
    assert dev.end() == 0
    assert all(cookie.value not in dev.said for cookie in browser.cookies if cookie.value)
