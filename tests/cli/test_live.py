"""`varsim run --live` and `varsim exec --live`: frames on a terminal, and a sentence elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.on_terminal import on_terminal
from tests.waiting import MS
from varsim.cli.main import main
from varsim.testing import simulated_cluster

SHOWN_CURSOR, HIDDEN_CURSOR = "\x1b[?25h", "\x1b[?25l"
HEAD = "replica  does"
SCRIPT = """
import varsim as tf
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.MEAN)
for number in range(3):
    strategy.run(lambda: w.assign_add(1.0))
    print(f"printed {number}")
print("without a line feed", end="")
"""


@pytest.fixture(autouse=True)
def _in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(SCRIPT)


@pytest.fixture
def simulated() -> Iterator[None]:
    with simulated_cluster():
        yield


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


@pytest.mark.parametrize(
    "words", [("run", "--steps", "3", "-n", "2"), ("exec", "-n", "2", "script.py")]
)
def test_frames_are_removed_before_the_report(simulated: None, words: tuple[str, ...]):
    command, *others = words
    shown = on_terminal(command, "--live", *others)
    after = shown.text.rpartition(HEAD)[2]

    assert 0 == shown.exit_code
    assert re.search(r"\n +1  computes", shown.text)
    assert "cost of their synchronisation" in after
    assert shown.text.count(HIDDEN_CURSOR) == shown.text.count(SHOWN_CURSOR) > 0
    if command == "exec":
        assert ["0", "1", "2"] == re.findall(r"printed (\d)", shown.text)
        assert "without a line feed" in shown.text.partition("cost of their synchronisation")[0]


@pytest.mark.parametrize(
    ("words", "has"),
    [(("run", "--steps", "3", "-n", "2"), "step 3/3"), (("exec", "script.py"), "printed 2")],
)
def test_without_a_terminal_a_sentence_says_so(simulated: None, words: tuple[str, ...], has: str):
    command, *others = words
    result = run(command, "--live", *others)

    assert 0 == result.exit_code
    assert (
        "--live shows nothing here, because stderr is not a terminal; the plain progress follows\n"
    ) in result.stderr
    assert has in result.output
    assert HEAD not in result.output


def test_a_terminal_without_a_cursor_is_named(simulated: None):
    shown = on_terminal("run", "--live", "--steps", "3", "-n", "2", NO_COLOR="1")

    assert "--live shows nothing here, because NO_COLOR is set;" in shown.text
    assert HEAD not in shown.text


def test_a_terminal_without_the_characters_of_frames_is_named(simulated: None):
    shown = on_terminal("run", "--live", "--steps", "3", "-n", "2", encoding="ascii")

    assert "because stderr's encoding, ascii, lacks the characters of" in shown.text
    assert 0 == shown.exit_code
    assert HEAD not in shown.text


@pytest.mark.parametrize("words", [("run", "-q"), ("run", "--json"), ("exec", "-q", "script.py")])
def test_a_hidden_run_is_not_live(words: tuple[str, ...]):
    command, *others = words
    result = run(command, "--live", *others)

    assert 2 == result.exit_code
    assert "--live shows the run, but --" in result.stderr
    assert not Path("runs").exists()


@pytest.mark.processes
@pytest.mark.thorough
def test_ctrl_c_leaves_a_clean_terminal():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    settings = termios.tcgetattr(theirs)
    words = ["run", "--live", "-n", "2", "--steps", "1000000", "--trace", "off"]
    process = subprocess.Popen(
        [sys.executable, "-m", "varsim", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": ""},
        start_new_session=True,
        preexec_fn=lambda: _control(theirs),  # noqa: PLW1509  # Ctrl-C needs a controlling terminal
    )
    try:
        text = _read(ours, until=f"{HEAD}.*calls/s")
        os.write(ours, b"\x03")
        text += _read(ours, until="interrupted: the results so far are saved in")
        assert 130 == process.wait(30_000 * MS)
        after = text.rpartition(HEAD)[2]

        assert settings == termios.tcgetattr(theirs)
        assert after.rfind(SHOWN_CURSOR) > after.rfind(HIDDEN_CURSOR)
        assert "digits: interrupted after" in after
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def _control(descriptor: int) -> None:
    import fcntl

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def _read(descriptor: int, until: str) -> str:
    """Read until a pattern has been printed."""
    read = ""
    while not re.search(until, read, re.DOTALL):
        ready, _, _ = select.select([descriptor], [], [], 30_000 * MS)
        assert ready, f"nothing more after {read[-500:]!r}"
        read += os.read(descriptor, 65536).decode(errors="replace")
    return read
