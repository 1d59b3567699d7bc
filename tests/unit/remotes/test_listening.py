"""Pure parts of listening: whose a server is, how long to wait, and news on its way."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from scaimcp.remotes.watching.news import News, pause_after
from scaimcp.remotes.watching.sharing import belongs_to, weight
from tests.waiting import until

SERVERS = [f"rs_{number:05}" for number in range(3_000)]


def owners(*workers: str) -> dict[str, str]:
    """Whose each server is; it is somebody's, and nobody else's."""
    found = {}
    for server in SERVERS:
        [found[server]] = [one for one in workers if belongs_to(one, server, workers)]
    return found


def test_workers_have_equal_shares() -> None:
    shares = Counter(owners("a", "b", "c").values())
    assert sum(shares.values()) == len(SERVERS)
    assert all(900 < share < 1_100 for share in shares.values())


def test_only_the_share_of_a_worker_that_goes_moves() -> None:
    before, after = owners("a", "b", "c"), owners("a", "b")
    assert {one for one in SERVERS if before[one] != after[one]} == {
        one for one in SERVERS if before[one] == "c"
    }


def test_a_lone_worker_has_everything() -> None:
    assert all(belongs_to("a", one, ("a",)) for one in SERVERS)


def test_claims_depend_on_both_names() -> None:
    assert len({weight(worker, one) for worker in "ab" for one in SERVERS[:10]}) == 20


@pytest.mark.parametrize(
    ("failures", "jitter", "seconds"),
    [
        (0, 0.0, 1.0),
        (0, 1.0, 1.0),
        (1, 0.0, 2.0),
        (1, 1.0, 1.0),
        (4, 0.5, 12.0),
        (8, 0.0, 256.0),
        (9, 0.0, 300.0),
        (9, 1.0, 150.0),
        (1_000_000, 0.0, 300.0),
    ],
)
def test_pauses_double_up_to_five_minutes(failures: int, jitter: float, seconds: float) -> None:
    assert pause_after(failures, (1.0, 300.0), jitter) == seconds


class Queue:
    """Takes discoveries, or refuses them while `is_away`."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.tries = 0
        self.is_away = False
        self.during: list[tuple[str, str]] = []
        self.news: News | None = None

    async def is_discovery_taken(self, tenant_id: str, server_id: str) -> bool:
        self.tries += 1
        for one in self.during:
            assert self.news is not None
            assert self.news.tell(*one)
        self.during = []
        if not self.is_away:
            self.taken.append((tenant_id, server_id))
        return not self.is_away


class Running:
    """News that runs beside the block."""

    def __init__(self, queue: Queue, seconds: float) -> None:
        self.news = queue.news = News(queue, seconds)

    async def __aenter__(self) -> News:
        self.task = asyncio.create_task(self.news.run())
        return self.news

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


async def test_news_is_handed_over_at_once_and_then_waits_for_its_time() -> None:
    queue = Queue()
    async with Running(queue, 0.05) as news:
        assert news.tell("t", "a")
        assert not news.tell("t", "a")
        await until(lambda: queue.taken == [("t", "a")])
        assert news.tell("t", "a")
        await until(lambda: queue.taken == [("t", "a")] * 2)


async def test_a_server_with_much_news_holds_up_no_other() -> None:
    queue = Queue()
    async with Running(queue, 3_600.0) as news:
        news.tell("t", "a")
        await until(lambda: queue.taken == [("t", "a")])
        news.tell("t", "a")
        news.tell("t", "b")
        await until(lambda: ("t", "b") in queue.taken)
        assert queue.taken.count(("t", "a")) == 1


async def test_what_the_queue_refuses_is_asked_for_again() -> None:
    queue = Queue()
    queue.is_away = True
    async with Running(queue, 0.02) as news:
        for name in "abc":
            news.tell("t", name)
        await until(lambda: queue.tries >= 3)
        assert queue.taken == []
        queue.is_away = False
        await until(lambda: {name for _, name in queue.taken} == {"a", "b", "c"})


async def test_news_that_comes_while_it_is_handed_over_is_not_lost() -> None:
    queue = Queue()
    queue.during = [("t", "a")]
    async with Running(queue, 0.02) as news:
        news.tell("t", "a")
        await until(lambda: queue.taken == [("t", "a")] * 2)
