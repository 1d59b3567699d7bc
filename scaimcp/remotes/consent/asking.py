"""Puts together what asks users and what takes their decisions. Spec: remote-servers 9."""

from __future__ import annotations

import msgspec

from scaimcp.postgres import Database
from scaimcp.remotes.config import RemotePolicy
from scaimcp.remotes.consent.approvals import Approvals
from scaimcp.remotes.consent.checking import Consent, ConsentPolicy
from scaimcp.remotes.consent.shown_arguments import LABEL as SHOWN_LABEL
from scaimcp.remotes.consent.shown_arguments import ShownArguments
from scaimcp.remotes.consent.state_sealing import LABEL as STATE_LABEL
from scaimcp.remotes.consent.state_sealing import RequestStates
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing


class Asking(msgspec.Struct, frozen=True):
    """``consent`` stands before calls, ``approvals`` behind REST and the page."""

    consent: Consent
    approvals: Approvals


def asking(policy: RemotePolicy, public_url: str, keys: KeyRing, database: Database) -> Asking:
    """Return both parts on one database.

    Args:
        policy: life of a question, its address, who may decide.
        public_url: of this gateway.
        keys: of ``STATE_KEYS``.
        database: where questions are kept.
    """
    shown = ShownArguments(Sealer(keys, SHOWN_LABEL))
    states = RequestStates(Sealer(keys, STATE_LABEL), policy.consent_seconds)
    rules = ConsentPolicy(policy.approval_url_template, public_url, policy.consent_seconds)
    return Asking(
        Consent(database, states, shown, rules),
        Approvals(database, shown, allow_api_keys=policy.consent_allow_api_keys),
    )
