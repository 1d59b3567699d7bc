"""A deadline for the path of every call: `asyncio.timeout` at a third of its price."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadline:
    """Cancels the current task after `seconds`; the block then ends with TimeoutError.

    For use in one task, once: ``with Deadline(5.0): await …``. Others may make its clock stand
    still meanwhile.
    """

    __slots__ = ("_cancelling", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    def __enter__(self) -> Deadline:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = loop.call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if not self._is_over:
            return
        # As in asyncio.timeout: whoever else has cancelled the task comes first.
        is_alone = self._task.uncancel() <= self._cancelling
        if is_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pause(self) -> None:
        """Stop the clock, for as long as somebody else is waited for."""
        self._seconds = self._timer.when() - asyncio.get_running_loop().time()
        self._timer.cancel()

    def resume(self) -> None:
        """Let the clock that `pause` has stopped go on, within the block only."""
        if not self._is_over:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._is_over = True
        self._task.cancel()
