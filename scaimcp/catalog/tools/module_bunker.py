"""Tools of the module for sandboxes, scaibunker.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, fields, list_of

_BUNKERS = "/v1/modules/scaibunker/bunkers"
_BUNKER_ID = arg("bunker_id:id*", "Identifier of the bunker, from bunker_list or bunker_create.")

TOOLS = (
    tool(
        "bunker_create",
        "Create a sandbox",
        "Create a bunker, an isolated sandbox from a container image; use it before bunker_exec "
        "when no bunker is running; returns the bunker, which is ready once its status is running.",
        f"POST {_BUNKERS}",
        (
            arg("image:str*", "Container image to run, for example python:3.12-slim."),
            arg("name:str(1–64)", "Name to recognise the bunker by; chosen when absent."),
            arg(
                "lifecycle_mode:enum(ephemeral,session,persistent)",
                "How long it is kept: ephemeral is removed when idle, persistent is kept; "
                "ephemeral when absent.",
            ),
            arg(
                "network_profile:enum(isolated,registry,allowlisted,unrestricted,transit)",
                "What it may reach: isolated nothing, registry package registries, allowlisted "
                "the hosts in network_allowlist; isolated when absent.",
            ),
            arg(
                "network_allowlist:list<str>(≤64)",
                "Hosts it may reach with network_profile allowlisted, for example "
                "api.example.com; none when absent.",
            ),
            arg(
                "cpu_millicores:int(100–64000)",
                "Processor share in thousandths of a core; 1000, one core, when absent.",
            ),
            arg("memory_mb:int(64–262144)", "Memory in megabytes; 512 when absent."),
            arg("disk_mb:int(64–1048576)", "Disk space in megabytes; 1024 when absent."),
            arg("gpu_count:int(0–8)", "Number of graphics processors; 0 when absent."),
            arg(
                "gpu_type:str(1–64)",
                "Kind of graphics processor, for example a100; any kind when absent.",
            ),
            arg(
                "max_lifetime_s:int(10–604800)",
                "Seconds after which it is terminated in any case; the platform's limit when "
                "absent.",
            ),
            arg(
                "idle_timeout_s:int(10–86400)",
                "Seconds without a command after which it is terminated; the platform's limit "
                "when absent.",
            ),
            arg(
                "env_vars:map",
                'Environment variables for every command, for example {"LANG": "C"}; none when '
                "absent.",
            ),
            arg(
                "label_set:map",
                'Labels to find it by, for example {"project": "demo"}; none when absent.',
            ),
        ),
        permission="scaibunker:create",
        hints="O",
        result=an("Bunker"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_list",
        "List sandboxes",
        "List the bunkers of the caller's tenant page by page; use it to find a running bunker or "
        "its identifier; returns name, image, status, sizes and expiry of each.",
        f"GET {_BUNKERS}",
        (
            *PAGE,
            arg(
                "status:str(1–32)",
                "Only bunkers in this state, for example running; all if absent.",
            ),
            arg(
                "lifecycle:enum(ephemeral,session,persistent)",
                "Only bunkers of this lifecycle mode; all when absent.",
            ),
        ),
        permission="scaibunker:create",
        hints="R I",
        result=list_of("Bunker"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_get",
        "Show a sandbox",
        "Show one bunker; use it after bunker_create or bunker_resume to see whether it is running "
        "yet; returns its image, status, sizes, network profile and expiry.",
        f"GET {_BUNKERS}/{{bunker_id}}",
        (_BUNKER_ID,),
        permission="scaibunker:create",
        hints="R I",
        result=an("Bunker"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_exec",
        "Run a shell command",
        "Run one shell command in a running bunker and wait for it; use it for short commands, "
        "raising timeout_s for long ones; returns exit code, standard output and standard error.",
        f"POST {_BUNKERS}/{{bunker_id}}/exec",
        (
            arg(
                "bunker_id:id*",
                "Identifier of a bunker whose status is running, from bunker_list.",
            ),
            arg("command:str(1–16384)*", "Shell command to run, for example ls -l /tmp."),
            arg(
                "timeout_s:int(1–600)=60",
                "Seconds to wait before the command is stopped, from 1 to 600; 60 when absent.",
            ),
            arg(
                "workdir:str",
                "Directory to run it in, for example /workspace; the image's own when absent.",
            ),
            arg(
                "env_vars:map",
                'Environment variables for this command, for example {"CI": "1"}; none when '
                "absent.",
            ),
            arg("stdin:text", "Text for the command's standard input; empty when absent."),
        ),
        permission="scaibunker:execute",
        hints="D O",
        result=fields(
            "exit_code, stdout, stderr, duration_ms, timed_out, output_truncated",
            long_text=("stdout", "stderr"),
        ),
        module_id="scaibunker",
        timeout_seconds=75.0,
    ),
    tool(
        "bunker_pause",
        "Pause a sandbox",
        "Pause a running bunker and keep its memory and files; use it when the bunker is needed "
        "again later but not now; returns the bunker with its new status.",
        f"POST {_BUNKERS}/{{bunker_id}}/pause",
        (_BUNKER_ID,),
        permission="scaibunker:create",
        hints="I",
        result=an("Bunker"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_resume",
        "Resume a sandbox",
        "Let a paused bunker run again where it stopped; use it before bunker_exec on a paused "
        "bunker; returns the bunker with its new status.",
        f"POST {_BUNKERS}/{{bunker_id}}/resume",
        (_BUNKER_ID,),
        permission="scaibunker:create",
        hints="I",
        result=an("Bunker"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_snapshot",
        "Snapshot a sandbox",
        "Save the present state of a bunker as a snapshot; use it before a risky change or to keep "
        "a result; returns the snapshot's identifier, size and time.",
        f"POST {_BUNKERS}/{{bunker_id}}/snapshot",
        (
            _BUNKER_ID,
            arg("name:str(1–64)", "Name to recognise the snapshot by; chosen when absent."),
        ),
        permission="scaibunker:create",
        hints="",
        result=fields("snapshot_id, bunker_id, size_bytes, created_at"),
        module_id="scaibunker",
    ),
    tool(
        "bunker_terminate",
        "Terminate a sandbox",
        "Terminate a bunker for good and free what it uses; use it when the work is done, with "
        "snapshot true to keep the files; returns the bunker with its last status.",
        f"DELETE {_BUNKERS}/{{bunker_id}}",
        (
            _BUNKER_ID,
            arg(
                "snapshot:bool=false",
                "True to save a snapshot first; false when absent, and the files are lost.",
            ),
        ),
        permission="scaibunker:create",
        hints="D I",
        result=an("Bunker"),
        module_id="scaibunker",
    ),
)
