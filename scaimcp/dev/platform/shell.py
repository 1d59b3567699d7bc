"""The shell of the sandboxes: text in, text out, nothing runs on the host. Spec: scaigrid 12.

It knows `echo`, `cat`, `pwd`, `env`, `sleep`, `exit` and `false`, joined by `;`, `&&`, `||` and
newlines, with quotes and backslashes but without variables, pipes and redirections.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OUTPUT_BYTES = 65_536
NOT_FOUND, SYNTAX, TIMED_OUT = 127, 2, 124
TOKEN = re.compile(
    r"""(?P<space>[^\S\n]+)
    |(?P<word>(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\;&|<>()])+)
    |(?P<sign>&&|\|\||[;\n&|<>()])
    |(?P<wrong>.)""",
    re.VERBOSE | re.DOTALL,
)
LINKS: dict[str, Callable[[int], bool]] = {
    ";": lambda code: True,
    "\n": lambda code: True,
    "&&": lambda code: code == 0,
    "||": lambda code: code != 0,
}


@dataclass(slots=True)
class Run:
    """One command line and what came of it.

    Attributes:
        env: variables of the commands.
        workdir: what `pwd` prints.
        stdin: read by the first `cat`.
        timeout_ms: virtual time after which the line is stopped.
        stdout: printed so far.
        stderr: complained so far.
        exit_code: of the last command.
        duration_ms: virtual time taken, one millisecond a command and what `sleep` asks for.
        timed_out: whether the time was up first.
        ended: whether nothing more runs.
    """

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/workspace"
    stdin: str = ""
    timeout_ms: int = 60_000
    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    duration_ms: int = 0
    timed_out: bool = False
    ended: bool = False

    def answer(self) -> dict[str, object]:
        """Return the members of an exec answer; both outputs end at `OUTPUT_BYTES`."""
        stdout, stderr = _capped(self.stdout), _capped(self.stderr)
        return {
            "exit_code": self.exit_code,
            "stdout": stdout,
            "stderr": stderr,
            "duration_ms": self.duration_ms,
            "timed_out": self.timed_out,
            "output_truncated": stdout != self.stdout or stderr != self.stderr,
        }

    def pass_time(self, milliseconds: float) -> None:
        """Let virtual time pass, and stop when it is up."""
        self.duration_ms += round(min(milliseconds, self.timeout_ms))
        if self.duration_ms >= self.timeout_ms:
            self.duration_ms = self.timeout_ms
            self.exit_code, self.timed_out, self.ended = TIMED_OUT, True, True


def _capped(text: str) -> str:
    encoded = text.encode()
    return text if len(encoded) <= OUTPUT_BYTES else encoded[:OUTPUT_BYTES].decode(errors="ignore")


def execute(run: Run, command: str) -> Run:
    """Run a whole command line and return the run with its results."""
    try:
        steps = list(_steps(command))
    except ValueError as problem:
        run.stderr, run.exit_code = f"sh: syntax error: {problem}\n", SYNTAX
        return run
    for link, words in steps:
        if words and LINKS[link](run.exit_code):
            _step(run, words)
        if run.ended:
            break
    return run


def _steps(command: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each simple command with the sign before it.

    Raises:
        ValueError: for an open quote or a sign that is not known.
    """
    link: str = ";"
    words: list[str] = []
    for found in TOKEN.finditer(command):
        text = found[0]
        if found.lastgroup == "word":
            words += shlex.split(text)
        elif found.lastgroup == "wrong" or (found.lastgroup == "sign" and text not in LINKS):
            raise ValueError(f"unexpected {text}")
        elif found.lastgroup == "sign":
            if words or text in ("&&", "||"):
                yield link, words
                link = text
            words = []
    yield link, words


def _step(run: Run, words: list[str]) -> None:
    run.pass_time(1)
    if run.ended:
        return
    handler = COMMANDS.get(words[0])
    if handler is None:
        run.stderr += f"sh: {words[0]}: not found\n"
        run.exit_code = NOT_FOUND
        return
    code = handler(run, words[1:])
    if not run.timed_out:
        run.exit_code = code


def _echo(run: Run, arguments: list[str]) -> int:
    run.stdout += " ".join(arguments) + "\n"
    return 0


def _cat(run: Run, arguments: list[str]) -> int:
    code = 0
    for name in arguments or ["-"]:
        if name == "-":
            run.stdout += run.stdin
            run.stdin = ""
        else:
            run.stderr += f"cat: {name}: No such file or directory\n"
            code = 1
    return code


def _pwd(run: Run, arguments: list[str]) -> int:
    run.stdout += f"{run.workdir}\n"
    return 0


def _env(run: Run, arguments: list[str]) -> int:
    run.stdout += "".join(f"{name}={value}\n" for name, value in sorted(run.env.items()))
    return 0


def _sleep(run: Run, arguments: list[str]) -> int:
    if len(arguments) != 1 or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", arguments[0]):
        run.stderr += "sleep: invalid time interval\n"
        return 1
    run.pass_time(float(arguments[0]) * 1000)
    return 0


def _exit(run: Run, arguments: list[str]) -> int:
    run.ended = True
    if not arguments:
        return run.exit_code
    if not re.fullmatch(r"\d{1,9}", arguments[0]):
        run.stderr += f"sh: exit: {arguments[0]}: numeric argument required\n"
        return SYNTAX
    return int(arguments[0]) % 256


def _false(run: Run, arguments: list[str]) -> int:
    return 1


COMMANDS: dict[str, Callable[[Run, list[str]], int]] = {
    "echo": _echo,
    "cat": _cat,
    "pwd": _pwd,
    "env": _env,
    "sleep": _sleep,
    "exit": _exit,
    "false": _false,
}
