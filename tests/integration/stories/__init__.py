"""Every built-in tool as data: who calls it with what, what reaches the platform, what comes back.

A story is a row of steps that belong together; later steps use what earlier ones have made. In
all values ``$name`` stands for something kept by an earlier step or seeded (see `running.seeded`).
"""

from tests.integration.stories.step import Step, Story

__all__ = ["Step", "Story"]
