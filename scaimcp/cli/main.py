"""The command line: parse, call, print.

Exit codes: 0 done, 1 failed, 2 wrong use, 5 settings that cannot be used; `keys` adds 3 and 4.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from scaimcp import __version__
from scaimcp.errors import SettingsError

_COMMANDS = {
    "serve": "serve MCP and REST",
    "worker": "run the background jobs",
    "migrate": "bring the database schema up to date",
    "keys": "make, rotate and check the keys that seal stored credentials",
    "dev": "run everything on this machine, with a stand-in platform",
    "smoke": "check a running gateway from outside",
    "doctor": "check settings and the services behind them",
    "catalog": "print the built-in tools",
}
EXIT_SETTINGS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="scaimcp", description="MCP gateway for ScaiGrid")
    parser.add_argument("--version", action="version", version=f"scaimcp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in given if word in _COMMANDS), None)
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == chosen:
            # Only the chosen command's module is loaded: a probe need not import a web server.
            import_module(f"scaimcp.cli.{name}").configure(command)
    options = parser.parse_args(given)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
    except SettingsError as error:
        print(f"scaimcp: {error.message}", file=sys.stderr)
        return EXIT_SETTINGS
    except BrokenPipeError:
        # Who read our output has left, as `head` does; nothing more can be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return code
