"""The pretended shell."""

import pytest

from scaimcp.dev.platform.shell import OUTPUT_BYTES, Run, execute


def out(command: str, **settings: object) -> tuple[int, str, str]:
    run = execute(Run(**settings), command)  # type: ignore[arg-type]  # members by name
    return run.exit_code, run.stdout, run.stderr


@pytest.mark.parametrize(
    ("command", "code", "stdout"),
    [
        ("echo hello  world", 0, "hello world\n"),
        ('echo \'a  b\' "c\\"d" e\\ f', 0, 'a  b c"d e f\n'),
        ("echo", 0, "\n"),
        ("echo ''", 0, "\n"),
        ("echo $HOME", 0, "$HOME\n"),
        ("echo 'a;b' '&&'", 0, "a;b &&\n"),
        ("pwd", 0, "/workspace\n"),
        ("false", 1, ""),
        ("", 0, ""),
        (" \n ; ", 0, ""),
        ("exit 3", 3, ""),
        ("exit 259", 3, ""),
        ("exit", 0, ""),
        ("exit x", 2, ""),
        ("false\nexit", 1, ""),
        ("exit 4; echo no", 4, ""),
        ("echo a; echo b\necho c", 0, "a\nb\nc\n"),
        ("false && echo no", 1, ""),
        ("false || echo yes", 0, "yes\n"),
        ("echo a || echo b", 0, "a\n"),
        ("echo a && echo b", 0, "a\nb\n"),
        ("false && echo no; echo end", 0, "end\n"),
        ("rm -rf /", 127, ""),
        ("true", 127, ""),
        ("cat /etc/passwd", 1, ""),
        ("&& echo a", 0, "a\n"),
    ],
)
def test_a_line_gives_its_output_and_code(command: str, code: int, stdout: str) -> None:
    assert out(command)[:2] == (code, stdout)


@pytest.mark.parametrize("command", ["echo a | cat", "echo a > f", "echo 'a", "sleep 1 &", "(pwd)"])
def test_what_the_shell_does_not_know_is_a_syntax_error(command: str) -> None:
    code, stdout, stderr = out(command)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("sh: syntax error: unexpected ")


def test_complaints_go_to_standard_error() -> None:
    assert out("ls -l")[2] == "sh: ls: not found\n"
    assert out("cat nothing")[2] == "cat: nothing: No such file or directory\n"
    assert out("exit x")[2] == "sh: exit: x: numeric argument required\n"


def test_input_is_read_once() -> None:
    assert out("cat; cat; cat - x", stdin="text")[:2] == (1, "text")


def test_env_prints_sorted_variables() -> None:
    assert out("env", env={"B": "2", "A": "1"})[1] == "A=1\nB=2\n"


def test_the_working_directory_is_taken() -> None:
    assert out("pwd", workdir="/tmp/x")[1] == "/tmp/x\n"


def test_sleep_passes_virtual_time() -> None:
    run = execute(Run(), "sleep 2.5; echo done")
    assert (run.duration_ms, run.stdout, run.timed_out) == (2502, "done\n", False)


@pytest.mark.parametrize("command", ["sleep", "sleep x", "sleep 1 2", "sleep -1"])
def test_a_wrong_interval_is_refused(command: str) -> None:
    code, _, stderr = out(command)
    assert (code, stderr) == (1, "sleep: invalid time interval\n")


def test_time_that_is_up_ends_the_line() -> None:
    run = execute(Run(timeout_ms=1000), "echo a; sleep 999999999; echo b")
    assert (run.exit_code, run.timed_out, run.duration_ms) == (124, True, 1000)
    assert run.stdout == "a\n"
    short = execute(Run(timeout_ms=3), "echo a; echo b; echo c; echo d")
    assert (short.timed_out, short.stdout) == (True, "a\nb\n")


def test_long_output_is_truncated_between_characters() -> None:
    answer = execute(Run(stdin="x" + "é" * OUTPUT_BYTES), "cat").answer()
    assert answer["output_truncated"] is True
    assert answer["stdout"] == "x" + "é" * ((OUTPUT_BYTES - 1) // 2)
    whole = execute(Run(stdin="x" * OUTPUT_BYTES), "cat").answer()
    assert (whole["output_truncated"], whole["stdout"]) == (False, "x" * OUTPUT_BYTES)
