"""The endpoint families, in the order in which their start rows are written."""

from scaimcp.dev.platform.endpoint import Family
from scaimcp.dev.platform.endpoints import (
    api_keys,
    demo_notes,
    discovery,
    inference,
    me,
    media,
    models,
    modules,
    scaibot,
    scaibunker,
    scaicore,
    scaiecho,
    scaimatrix,
    scaimind,
    scaipersona,
    scaiqueue,
    scaiskills,
    scaispeak,
)

FAMILIES: tuple[Family, ...] = (
    discovery.FAMILY,
    me.FAMILY,
    inference.FAMILY,
    media.FAMILY,
    models.FAMILY,
    modules.FAMILY,
    api_keys.FAMILY,
    demo_notes.FAMILY,
    scaibunker.FAMILY,
    scaimatrix.FAMILY,
    scaiskills.FAMILY,
    scaiqueue.FAMILY,
    scaipersona.FAMILY,
    scaispeak.FAMILY,
    scaiecho.FAMILY,
    scaimind.FAMILY,
    scaicore.FAMILY,
    scaibot.FAMILY,
)
