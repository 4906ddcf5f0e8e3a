"""Run the commands in documents, and write what they print: `make transcripts`.

The documents are the lessons (varsim/lessons), docs/first-hour.md, and the pages of docs/how-to and
docs/coming-from. Each is run from its first to its last line, in a new folder that is empty:

- The folder beside it, ../varsim, is a checkout of varsim.
- In a block of `console`, a line that begins with `$ ` is a command for Bash; the lines below it
  are its output. A command that fails ends with the line `(exit code N)`. The program's progress,
  which a terminal overwrites, is left out.
- A comment `<!-- show from "X" to "Y" -->` before the block shortens the output of its last
  command: from the first line that contains X to the next one that contains Y.
- A block of `diff` changes a file of the current folder as a reader does: the lines with `-` are
  replaced by those with `+`.
- A block of `python title="FILE"` writes a file. Any other block of `python` must be a part of a
  file in the current folder.
- A comment `<!-- picture FILE -->` names the file of the run that becomes the picture in the next
  line.

The sizes of written files are replaced by `… bytes`, because they change with times and versions.

`--check` writes nothing, and its exit code says whether all documents are current. Times, names of
runs, and the layout of pictures may differ.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_TIMEOUT_S: Final = 300  # of one command; the longest, an installation by pip, takes a minute
_BLOCK: Final = re.compile(
    r'(?:<!-- show from "(?P<begin>[^"\n]*)"(?: to "(?P<end>[^"\n]*)")? -->\n)?'
    r"^```(?P<kind>console|diff|python)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<body>.*?)^```$"
    r"|<!-- picture (?P<made>\S+) -->\n!\[[^\]]*\]\((?P<picture>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
_PROGRESS: Final = re.compile(r"^step \d+(?:/\d+)?\b.*\n", re.MULTILINE)
_DIFFERENT_LINES: Final = re.compile(
    r"(?<=B)(?: +\d[\d.,]*)+$"  # times and what follows from them, beside the bytes
    r"|^ +events +\d.*$"
    r"|(?<=^  what      )\w+: "  # similar findings whose times differ: which one this is
    r"|\d{8}-\d{6}",  # in the name of a run
    re.MULTILINE,
)
_SIZE: Final = re.compile(r"(?<=: )\d[\d,]* bytes$", re.MULTILINE)
"""The size of a written file, such as a report: it changes with times and versions."""
_DIFFERENT: Final = re.compile(
    r"(?: · )?[\w-]+ \d[\d,.]* m?s\b"  # a phase with its time; short ones are not shown
    r"|\d[\d,.]* m?s\b"
    r"|\bevent \d+"
    r"|\b(?:passed|failed) in \d[\d.]*s"
)
_FOLDER: Final = re.compile(r'^declare -x PWD="(.*)"$', re.MULTILINE)
"""The current folder, in the variables of a shell."""

_NOT_PASSED_ON: Final = ("VARSIM_", "PYTEST_", "PYTHON", "COVERAGE_", "VIRTUAL_ENV")
"""Beginnings of the names of variables that would change what a command does."""


@dataclass
class Transcript:
    """A document that is being run."""

    document: Path
    folder: Path  # where the next command runs: a command can change it by `cd`
    environment: Path  # a file with the variables of the shell after the last command
    installs: bool = True  # whether to run commands that install packages
    pictures: dict[Path, bytes] = field(default_factory=dict)

    def renewed(self) -> str:
        """Run the document, and return its text with new outputs.

        Raises:
            ValueError: A block of Python or a change does not fit the files of the folder.
        """
        return _BLOCK.sub(self._block, self.document.read_text("utf-8"))

    def _block(self, block: re.Match[str]) -> str:
        if block["made"]:
            self.pictures[self.document.parent / block["picture"]] = (
                self.folder / block["made"]
            ).read_bytes()
            return block[0]
        match block["kind"]:
            case "diff":
                self._change(block["body"])
            case "python" if block["title"]:
                (self.folder / block["title"]).write_text(block["body"], "utf-8")
            case "python":
                self._require_part(block["body"])
            case _:
                new = "".join(self._command(one, block) for one in _commands(block["body"]))
                return block[0].replace(block["body"], new)
        return block[0]

    def _command(self, command: str, block: re.Match[str]) -> str:
        """Run one command, and return it with its output."""
        said = f"$ {command}\n"
        if not self.installs and _installs(command):
            return said
        output, code = self._done(command)
        if block["begin"] and command == list(_commands(block["body"]))[-1]:
            output = _part(output, block["begin"], block["end"] or "")
        return said + output + (f"(exit code {code})\n" if code else "")

    def _done(self, command: str) -> tuple[str, int]:
        """Run a command in the shell, and return its output and its exit code.

        The shell goes on in the folder and with the variables of the last command.
        """
        kept = shlex.quote(str(self.environment))
        script = (
            f'. {kept}; cd "$PWD"; {{ {command}\n}} </dev/null; code=$?\n'
            f"export -p >{kept}; exit $code"
        )
        done = subprocess.run(
            ["/usr/bin/env", "bash", "--norc", "-c", script],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},  # the other variables are in the file
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if now := _FOLDER.search(self.environment.read_text("utf-8")):
            self.folder = Path(now[1])
        lines = _SIZE.sub("… bytes", _PROGRESS.sub("", done.stdout)).rstrip().splitlines()
        return "".join(f"{line.rstrip()}\n" for line in lines), done.returncode

    def _change(self, diff: str) -> None:
        lines = diff.splitlines(keepends=True)
        name = lines[0].removeprefix("--- ").strip()
        file = self.folder / name
        old = "".join(line[1:] for line in lines[2:] if not line.startswith("+"))
        new = "".join(line[1:] for line in lines[2:] if not line.startswith("-"))
        text = file.read_text("utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{self.document}: {name} does not have these lines once:\n{old}")
        file.write_text(text.replace(old, new), "utf-8")

    def _require_part(self, code: str) -> None:
        files = [*self.folder.glob("*.py"), *self.folder.glob("*.yaml")]
        texts = [textwrap.dedent(path.read_text("utf-8")) for path in files]
        flat = ["\n".join(line.strip() for line in text.splitlines()) for text in texts]
        wanted = "\n".join(line.strip() for line in code.splitlines())
        if not any(wanted in text for text in flat):
            raise ValueError(f"{self.document}: no file of the folder has these lines:\n{code}")


def _commands(body: str) -> Iterator[str]:
    """Yield the commands of a block; a line that ends with a backslash goes on in the next one."""
    yield from re.findall(r"^\$ (.*(?:\\\n.*)*)", body, re.MULTILINE)


def _installs(command: str) -> bool:
    return bool(re.search(r"-m venv|pip install|/activate$", command))


def _part(output: str, begin: str, end: str) -> str:
    """Return the lines from the first one with `begin` to the next one with `end`."""
    lines = output.splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines) if begin in line), None)
    last = next(
        (
            at
            for at, line in enumerate(lines)
            if end and first is not None and at >= first and end in line
        ),
        len(lines) - 1,
    )
    if first is None:
        raise ValueError(f"no line of this output has {begin!r}:\n{output}")
    cut = "".join(lines[first : last + 1])
    return ("…\n" if first else "") + cut + ("…\n" if last + 1 < len(lines) else "")


def _labels(picture: bytes) -> list[bytes]:
    """Return the texts and the values of a chart, without its layout and colours."""
    return sorted(re.findall(rb'aria-label="(?![XY]-axis)([^"]*)"', picture))


def without_times(text: str) -> str:
    """Return a document without what is different each time that it is run, as words.

    Blanks and breaks of lines depend on the length of the numbers, too.
    """
    return _DIFFERENT.sub("", " ".join(_DIFFERENT_LINES.sub("", text).split()))


def documents() -> list[Path]:
    """Return the documents whose commands are run."""
    lessons = sorted((ROOT / "varsim" / "lessons").glob("*/README.md"))
    pages = [path for folder in ("how-to", "coming-from") for path in _pages(folder)]
    return [*lessons, *(ROOT / "docs").glob("first-hour.md"), *pages]


def _pages(folder: str) -> list[Path]:
    return sorted((ROOT / "docs" / folder).glob("*.md"))


def run(document: Path, folder: Path, *, installs: bool = True) -> tuple[str, dict[Path, bytes]]:
    """Run a document in an empty folder.

    Args:
        installs: Whether to run its commands that install packages; otherwise varsim is that of
            this Python.
    Returns:
        The document's text with new outputs, and the new pictures.
    """
    environment = folder / "environment"
    there = folder / "lesson"
    there.mkdir()
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.isidentifier() and not name.startswith(_NOT_PASSED_ON)
    }
    python = str(Path(sys.executable).parent)
    variables |= {"PATH": os.pathsep.join((python, os.environ["PATH"])), "PWD": str(there)}
    variables |= {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb"}
    variables |= {"PYTEST_DEBUG_TEMPROOT": str(folder)}  # pytest leaves its files there
    environment.write_text(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    )
    if installs:
        _put_checkout(folder / "varsim")
    transcript = Transcript(document, there, environment, installs)
    return transcript.renewed(), transcript.pictures


def _put_checkout(folder: Path) -> None:
    """Copy what an installation needs: pip would leave its files in the checkout itself."""
    for name in ("varsim", "workers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)


def stale(document: Path, folder: Path, *, installs: bool) -> list[str]:
    """Run a document, and return what is not current: pictures, and lines of the document."""
    text, pictures = run(document, folder, installs=installs)
    found = [
        f"{path.relative_to(ROOT)} is another picture"
        for path, made in pictures.items()
        if not path.exists() or _labels(path.read_bytes()) != _labels(made)
    ]
    old = document.read_text("utf-8")
    if without_times(old) == without_times(text):
        return found
    said, printed = (_DIFFERENT_LINES.sub("", one).splitlines() for one in (old, text))
    name = str(document.relative_to(ROOT))
    lines = difflib.unified_diff(said, printed, name, "printed now", n=0, lineterm="")
    return [*found, *lines]


def main() -> int:
    """Write the outputs and the pictures of all documents, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", nargs="*", type=Path, help="by default all")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    options = parser.parse_args()
    found: list[str] = []
    for document in [path.resolve() for path in options.documents] or documents():
        with tempfile.TemporaryDirectory() as folder:
            if options.check:
                found += stale(document, Path(folder), installs=True)
            else:
                _write(document, Path(folder))
    for line in found:
        print(line)
    if found:
        print("the documents are not current: run `make transcripts`")
    return 1 if found else 0


def _write(document: Path, folder: Path) -> None:
    """Run a document; write its pictures, and its new outputs unless only times differ."""
    text, pictures = run(document, folder)
    for path, made in pictures.items():
        path.write_bytes(made)
    old = document.read_text("utf-8")
    if without_times(old) != without_times(text):
        document.write_text(text, "utf-8")
        print(f"wrote {document.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
