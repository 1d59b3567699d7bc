"""A deadline whose clock can stand still."""

from __future__ import annotations

import asyncio

import pytest

from scaimcp.deadline import Deadline


async def test_a_deadline_that_is_paused_does_not_pass() -> None:
    with Deadline(0.05) as deadline:
        deadline.pause()
        await asyncio.sleep(0.08)
        deadline.resume()
        await asyncio.sleep(0)


async def paused_and_resumed(seconds: float) -> None:
    """Run into a deadline that was paused for a moment."""
    with Deadline(seconds) as deadline:
        deadline.pause()
        deadline.resume()
        await asyncio.sleep(5)


async def paused_too_late() -> None:
    """Pause a deadline that has passed."""
    with Deadline(0.0) as deadline:
        try:
            await asyncio.sleep(5)
        finally:
            deadline.pause()
            deadline.resume()


async def test_a_deadline_goes_on_with_what_was_left() -> None:
    with pytest.raises(TimeoutError):
        await paused_and_resumed(0.05)


async def test_a_deadline_that_has_passed_is_not_set_again() -> None:
    with pytest.raises(TimeoutError):
        await paused_too_late()
    await asyncio.sleep(0.01)
