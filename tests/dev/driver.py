"""`scaimcp dev` with tiny children in place of gateway, worker, platform and migrations.

Run as ``python -m tests.dev.driver [arguments of scaimcp dev]``. The children get the real plan's
settings, dependencies and readiness checks; only their programs differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scaimcp.dev.command import add_arguments, options_from, run
from scaimcp.dev.plan import Address, DevOptions, plan_children
from scaimcp.dev.supervisor import Child

SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {k: v for k, v in os.environ.items() if k.startswith("SCAI")}
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(body).encode())
    def log_message(self, *args): pass
"""
GATEWAY = f"""{SERVER}
host, port = os.environ["SCAIMCP_SERVER_BIND"].rsplit(":", 1)
print("gateway serves", flush=True)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""
PLATFORM = f"""{SERVER}
import argparse, pathlib
parser = argparse.ArgumentParser()
for name in ("--host", "--port", "--db", "--ready-file"): parser.add_argument(name)
parser.add_argument("--rate-limits", action="store_true")
args = parser.parse_args()
server = http.server.HTTPServer((args.host, int(args.port)), Handler)
pathlib.Path(args.db).touch()
url = f"http://{{args.host}}:{{server.server_port}}"
pathlib.Path(args.ready_file).write_text(json.dumps({{"url": url, "pid": os.getpid()}}))
server.serve_forever()
"""
VAULT = f"""{SERVER}
import argparse, pathlib
parser = argparse.ArgumentParser()
for name in ("--port", "--ready-file", "--platform-ready-file"): parser.add_argument(name)
args = parser.parse_args()
assert json.loads(pathlib.Path(args.platform_ready_file).read_text())["url"]
server = http.server.HTTPServer(("127.0.0.1", int(args.port)), Handler)
url = f"http://127.0.0.1:{{server.server_port}}"
pathlib.Path(args.ready_file).write_text(json.dumps({{"url": url, "pid": os.getpid()}}))
server.serve_forever()
"""
MIGRATE = """
import os
assert [name for name in os.environ if name.startswith("SCAI")] == ["SCAIMCP_DATABASE_URL"]
print("schema is in place")
"""
WORKER = """
import os, socket, time
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["SCAIMCP_REDIS_URL"].removeprefix("unix://"))
client.sendall(b"SETEX scaimcp:queue:health-check 3600 ok\\r\\n")
assert client.recv(16) == b"+OK\\r\\n"
time.sleep(600)
"""
BROKEN_MIGRATE = "raise SystemExit('no such schema')"
PROGRAMS = {
    "platform": PLATFORM,
    "vault": VAULT,
    "migrate": MIGRATE,
    "worker": WORKER,
    "gateway": GATEWAY,
}
TOKENS = {"tenant_admin": "sgk_admin", "tenant_user": "sgk_user"}


def plan(options: DevOptions, directory: Path, address: Address) -> Sequence[Child]:
    programs = dict(PROGRAMS)
    if options.platform_rate_limits:  # borrowed as a switch: this run shall fail
        programs["migrate"] = BROKEN_MIGRATE
    return [
        replace(child, argv=(sys.executable, "-c", programs[child.name], *_rest(child)))
        for child in plan_children(options, directory, address)
    ]


def _rest(child: Child) -> tuple[str, ...]:
    """The arguments after ``python -m module``, for the stand-ins only."""
    return child.argv[3:] if child.name in ("platform", "vault") else ()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scaimcp dev")
    add_arguments(parser)
    sys.exit(run(options_from(parser.parse_args()), plan, TOKENS))
