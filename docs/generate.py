"""Write the parts of documents that are generated from the code: `make docs`.

A document marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of
`PARTS`. `--check` writes nothing, and its exit code says whether all parts are current. Parts with
the output of a run are not checked, because the times of each run are different. If only the times
differ, the part is not changed; `--measure` writes the new times. If the installed
releases differ from locks/newest.txt, `--check` checks nothing, because the documents depend on
these releases.

The pages in docs/modes are written and checked in the same way: see `docs.mode_pages`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import subprocess
import sys
import tempfile
import tokenize
import tomllib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import click

from benchmarks.tables import newest
from benchmarks.ways import ways_list
from docs.error_page import errors
from docs.history_parts import history_kinds, history_run_keys, history_schema
from docs.mixing import nesting_table, pairs_table
from docs.mixing_strategies import strategies_table
from docs.mode_pages import FOLDER, mode_pages
from docs.policy_table import policy_table
from locks.installed import why_documents_may_differ
from varsim.cli.main import main as cli
from varsim.experiments import config
from varsim.protocol import codec, messages
from varsim.report import summary

ROOT: Final = Path(__file__).resolve().parents[1]
_PART: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
_RUN_TIMEOUT_S: Final = 120  # a run takes seconds; a run that hangs must end


# ---------------------------------------------------------------- modules


def modules() -> str:
    """Return every module with the first sentence of its docstring, by package."""
    lines: list[str] = []
    for folder in _packages():
        files = [path for path in sorted(folder.glob("*.py")) if path.stat().st_size]
        if not files:
            continue
        lines += ["", f"**{folder.relative_to(ROOT).as_posix()}/**", ""]
        lines += [f"- `{path.name}`: {first_sentence(path)}" for path in files]
    return "\n".join(lines[1:])


def _packages() -> Iterator[Path]:
    for top in (ROOT / "varsim", ROOT / "workers"):
        yield top
        yield from sorted(path for path in top.rglob("*") if path.is_dir() and _has_code(path))


def _has_code(folder: Path) -> bool:
    return folder.name != "__pycache__" and any(folder.glob("*.py"))


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    if not docstring:
        raise SystemExit(f"{path.relative_to(ROOT)} has no docstring to list it with")
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0]


# ---------------------------------------------------------------- contracts of imports


def layers() -> str:
    """Return the layers of `varsim` from pyproject.toml, from the top, each with its comment."""
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"^layers = \[\n(.*?)^\]$", settings, re.DOTALL | re.MULTILINE)
    assert block, "pyproject.toml has no contract of layers"
    rows = re.findall(r'^ *"(.*)", *# (.*)$', block[1], re.MULTILINE)
    lines = [
        f"{''.join(f'{name:<14} ' for name in row.split(' | ')):<46}# {comment}"
        for row, comment in rows
    ]
    return "\n".join(["```", *lines, "```"])


def import_contracts() -> str:
    """Return the contracts of imports in pyproject.toml, except the layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return "\n".join(f"- {one['name']}" for one in contracts["contracts"] if one["id"] != "layers")


# ---------------------------------------------------------------- protocol


def message_list() -> str:
    """Return every message with its tag, sender, receiver and fields."""
    parts = ["### From the coordinator to a worker", ""]
    for tag, kind in enumerate(codec.MESSAGES):
        if kind is messages.Ready:
            parts += ["### From a worker to the coordinator", ""]
        parts += [f"#### {kind.__name__} (tag {tag})", "", *_described(kind)]
    return "\n".join(parts).rstrip()


def record_list() -> str:
    """Return the records that messages contain, besides arrays and plain values."""
    parts: list[str] = []
    for kind in (messages.Payload, messages.Report, messages.Delta):
        parts += [f"### {kind.__name__}", "", *_described(kind)]
    return "\n".join(parts).rstrip()


def _described(kind: type) -> list[str]:
    docstring = inspect.getdoc(kind) or ""
    rows = list(_fields(kind))
    if not rows:
        return [docstring, "", "No fields.", ""]
    return [docstring, "", "| field | type | meaning |", "| --- | --- | --- |", *rows, ""]


def _fields(kind: type) -> Iterator[str]:
    source = inspect.getsource(kind)
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__)
        if token.type == tokenize.COMMENT
    }
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            type_text = ast.unparse(node.annotation).replace("|", "\\|")
            comment = comments.get(node.lineno, "").replace("|", "\\|")
            yield f"| `{ast.unparse(node.target)}` | `{type_text}` | {comment} |"


def wire() -> str:
    """Return the codec's description of the bytes."""
    return inspect.getdoc(codec) or ""


def limits() -> str:
    """Return the limits of the protocol, each with its reason."""
    rows = ["| limit | value | reason |", "| --- | --- | --- |"]
    for path in sorted((ROOT / "varsim" / "protocol").glob("*.py")):
        body = ast.parse(path.read_text("utf-8")).body
        for node, following in pairwise(body):
            match node, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value),
                    ast.Expr(value=ast.Constant(value=str(reason))),
                ) if name.startswith("MAX_") or name.endswith("_BYTES"):
                    text = " ".join(reason.split())
                    rows.append(f"| `{path.stem}.{name}` | `{ast.unparse(value)}` | {text} |")
    return "\n".join(rows)


# ---------------------------------------------------------------- runs


def summary_fields() -> str:
    """Return the fields of `summary.json`, object by object."""
    names = "Summary Failure Judgement Note VariableSummary SyncCost Lens Digest Sample Carried"
    names += " HostTraffic HostLink"
    kinds = [getattr(summary, name) for name in names.split()]
    parts: list[str] = []
    for kind in kinds:
        parts += [f"### {kind.__name__}", "", *_described(kind)]
    return "\n".join(parts).rstrip()


def experiment_keys() -> str:
    """Return the keys of an experiment's YAML file."""
    rows = ["| key | meaning |", "| --- | --- |"]
    for name, described in config.schema()["properties"].items():
        rows.append(f"| `{name}` | {described['description']} |")
    return "\n".join(rows)


def commands() -> str:
    """Return the output of `--help` of the program and of each command."""
    context = click.Context(cli, info_name="varsim")
    parts = ["```console", "$ varsim --help", _help(cli, "varsim"), "```"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += ["", f"## varsim {name}", "", "```console", f"$ varsim {name} --help"]
        parts += [_help(command, name, context), "```"]
    return "\n".join(parts)


def _help(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    settings = {**cli.context_settings, "terminal_width": 80}
    return command.get_help(click.Context(command, parent, name, **settings))


# ---------------------------------------------------------------- output of runs


def run_output() -> str:
    """Return the output of the README's first command."""
    command = ["run", "--workers", "4", "--mode", "on_read"]
    with tempfile.TemporaryDirectory() as folder:  # the run's directory is not kept
        said = subprocess.run(
            [sys.executable, "-m", "varsim", *command],
            check=True,
            capture_output=True,
            text=True,
            timeout=_RUN_TIMEOUT_S,
            cwd=folder,
            env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        ).stdout
    return f"```console\n$ varsim {' '.join(command)}\n{said.rstrip()}\n```"


# ---------------------------------------------------------------- documents


QUESTIONS: Final = (
    "step scalars digits reads scale busy startup tracing history tcp ways compression ssp".split()
)
"""The benchmarks whose newest results docs/performance.md and docs/compression.md show."""

PARTS: Final[dict[str, Callable[[], str]]] = {
    "layers": layers,
    "import-contracts": import_contracts,
    "modules": modules,
    "messages": message_list,
    "records": record_list,
    "wire": wire,
    "limits": limits,
    "history-schema": history_schema,
    "history-run-keys": history_run_keys,
    "history-kinds": history_kinds,
    "policy-table": policy_table,
    "mixing-pairs": pairs_table,
    "ways": ways_list,
    "mixing-nesting": nesting_table,
    "mixing-strategies": strategies_table,
    "summary-fields": summary_fields,
    "experiment-keys": experiment_keys,
    "commands": commands,
    "errors": errors,
    "run-output": run_output,
    **{f"bench-{question}": partial(newest, question) for question in QUESTIONS},
}
NOT_REPEATABLE: Final = frozenset({"run-output"})

_TIME: Final = re.compile(r"(?: · )?[\w-]+ \d[\d,.]* m?s\b|(?<=runs/)\d{8}-\d{6}")
"""What is different in the output of each run: phases with their times, of which short ones are not
shown, and the name of the run's folder."""


def documents() -> list[Path]:
    """Return the documents that may have generated parts."""
    lessons = sorted((ROOT / "varsim" / "lessons").glob("*/README.md"))
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *lessons]


def current(text: str, *, runs: bool, measure: bool = False) -> str:
    """Return a document's text with up-to-date generated parts.

    Args:
        runs: Whether to renew the output of runs, too.
        measure: Whether to renew output in which only times differ.
    """

    def renewed(part: re.Match[str]) -> str:
        name = part["name"]
        if name in NOT_REPEATABLE and not runs:
            return part[0]
        new = f"{part['begin']}{PARTS[name]()}\n{part['end']}"
        keeps = name in NOT_REPEATABLE and not measure
        return part[0] if keeps and _TIME.sub("", part[0]) == _TIME.sub("", new) else new

    return _PART.sub(renewed, text)


def stale() -> list[str]:
    """Return the documents that are out of date, missing or superfluous."""
    parts = [path for path in documents() if (text := _text_of(path)) != current(text, runs=False)]
    pages = mode_pages()
    whole = [path for path, text in pages.items() if _text_of(path) != text]
    found = [*parts, *whole, *superfluous(pages)]
    return [path.relative_to(ROOT).as_posix() for path in found]


def superfluous(pages: Collection[Path]) -> list[Path]:
    """Return the files in docs/modes that are not generated."""
    return sorted(path for path in FOLDER.glob("*") if path not in pages)


def _text_of(path: Path) -> str:
    """Return the text of a document; "" if it does not exist."""
    return path.read_text("utf-8") if path.exists() else ""


def write_mode_pages() -> None:
    """Write docs/modes, and remove superfluous files."""
    pages = mode_pages()
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages.items():
        _write(path, text)
    for path in superfluous(pages):
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")


def _write(path: Path, text: str) -> None:
    if _text_of(path) != text:
        path.write_text(text, "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def main() -> int:
    """Write all documents, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    parser.add_argument("--no-runs", action="store_true", help="keep the old output of runs")
    parser.add_argument("--measure", action="store_true", help="write the new times of runs")
    options = parser.parse_args()
    if options.check:
        if why := why_documents_may_differ():
            print(why)
            return 0
        found = stale()
        for name in found:
            print(f"{name} is not current: run `make docs`")
        return 1 if found else 0
    write_mode_pages()
    for path in documents():
        text = current(_text_of(path), runs=not options.no_runs, measure=options.measure)
        _write(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
