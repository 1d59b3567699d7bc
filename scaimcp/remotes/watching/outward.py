"""What everything that asks remote servers by itself works with."""

from __future__ import annotations

import msgspec

from scaimcp.credentials.keys import KeyWrapper
from scaimcp.outbound import GuardedHttp
from scaimcp.postgres import Database
from scaimcp.remotes.config import RemotePolicy
from scaimcp.remotes.watching.followup import FollowUp


class Outward(msgspec.Struct, frozen=True):
    """The parts that discoveries and probes share; ``keys`` unwrap the credentials' data keys."""

    database: Database
    http: GuardedHttp
    keys: KeyWrapper
    policy: RemotePolicy
    follow_up: FollowUp
