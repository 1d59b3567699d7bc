"""Reading /proc: what the kernel writes, and what must not confuse the reader."""

from __future__ import annotations

import os

import pytest

from bench import proc

TICKS = os.sysconf("SC_CLK_TCK")


def line(name: str, *, parent: int = 7, times: tuple[int, int, int, int] = (1, 2, 3, 4)) -> str:
    middle = " ".join(["0"] * 9)
    return f"42 ({name}) S {parent} {middle} {' '.join(str(t * TICKS) for t in times)} 20 0 1 0"


def test_own_time_is_user_and_system_and_children_are_apart() -> None:
    assert proc.parse_stat(line("python")) == proc.Stat(7, 3.0, 7.0)


@pytest.mark.parametrize("name", ["a b", "a) S 1 (b", "("])
def test_a_programs_name_may_hold_blanks_and_brackets(name: str) -> None:
    assert proc.parse_stat(line(name)).parent == 7


def test_memory_is_the_proportional_share_in_mib() -> None:
    text = "55d0-7ffd ---p [rollup]\nRss:   90000 kB\nPss:   51200 kB\nPss_Dirty: 1 kB\n"
    assert proc.parse_memory(text) == 50.0
    assert proc.parse_memory("") == 0.0


def test_resident_memory_is_told_now_and_at_its_peak() -> None:
    text = "Name:\tpython\nVmPeak:\t 999 kB\nVmHWM:\t  71680 kB\nVmRSS:\t   61440 kB\nThreads:\t1\n"
    assert proc.parse_resident(text) == proc.Resident(60.0, 70.0)
    assert proc.resident(os.getpid()).now > 1.0


def test_idle_and_waiting_time_is_not_busy() -> None:
    values = " ".join(str(n * TICKS) for n in (1, 2, 3, 100, 200, 4, 5, 6, 9, 9))
    assert proc.parse_busy(f"cpu  {values}\ncpu0 1 2 3\n") == 21.0


def test_descendants_are_found_at_any_depth_and_others_are_not() -> None:
    parents = {2: 1, 3: 2, 4: 3, 5: 1, 9: 8}
    assert sorted(proc.descendants(2, parents)) == [2, 3, 4]


def test_this_process_is_seen_with_cpu_and_memory() -> None:
    me = os.getpid()
    assert proc.stats()[me].parent == os.getppid()
    assert 0 < proc.cpu_seconds(me) <= proc.cpu_seconds(me, with_ended=True)
    assert proc.pss_mib([me]) > 1
    assert proc.busy_seconds() > 0
