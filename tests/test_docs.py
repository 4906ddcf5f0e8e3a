"""The documents are current: their examples run, and their generated parts and links are right."""

from __future__ import annotations

import doctest
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from docs.generate import PARTS, ROOT, current, documents, first_sentence, stale
from locks.installed import why_documents_may_differ
from varsim import VarsimWarning
from varsim.analysis.search import SEARCHED_KINDS
from varsim.cli.main import main
from varsim.testing import simulated_cluster

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class ExampleSection:
    """The examples of one section. All other lines of the document are replaced by blank lines."""

    path: Path
    title: str
    examples: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.title}"


def sections(path: Path) -> Iterator[ExampleSection]:
    """Yield the sections with examples; add the examples before the first heading to each."""
    lines = path.read_text("utf-8").splitlines()
    owners: list[str] = []  # for each line of the document: the title of its section
    title, inside = "", False
    for line in lines:
        if line.startswith("```"):
            inside = line == "```pycon"
        elif line.startswith("##") and not inside:
            title = line.lstrip("# ")
        owners.append(title if inside and not line.startswith("```") else "-")
    for wanted in dict.fromkeys(owner for owner in owners if owner not in ("", "-")):
        kept = zip(lines, owners, strict=True)
        examples = "\n".join(line if owner in ("", wanted) else "" for line, owner in kept)
        yield ExampleSection(path, wanted, examples)


WITH_EXAMPLES = [section for path in documents() for section in sections(path)]


def test_the_documents_have_examples() -> None:
    """If examples had another form, the next test would find no example, and would pass."""
    assert {"README.md", "semantics.md"} <= {section.path.name for section in WITH_EXAMPLES}
    assert 20 < len(WITH_EXAMPLES)


@pytest.mark.parametrize("section", WITH_EXAMPLES, ids=str)
def test_an_example_has_the_documented_results(section: ExampleSection) -> None:
    """An example runs on a simulated cluster, and may cause warnings of varsim."""
    globals_ = {"__name__": "__main__"}
    test = doctest.DocTestParser().get_doctest(
        section.examples, globals_, section.title, str(section.path), 0
    )
    said: list[str] = []
    with simulated_cluster(), warnings.catch_warnings():
        warnings.simplefilter("ignore", VarsimWarning)
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append, clear_globs=False)
        if strategy := test.globs.get("strategy"):
            strategy.close()
    assert not said, "".join(said)


@pytest.mark.skipif(bool(why_documents_may_differ()), reason=why_documents_may_differ())
@pytest.mark.thorough
def test_generated_parts_are_current() -> None:
    """`make docs-check`, a part of `make check`, checks this, too."""
    assert [] == stale(), "run `make docs`"


@pytest.mark.parametrize(
    ("said", "is_kept"),
    [
        (
            "training 12.75 s · writing 0.01 s\nruns/20260102-030405-digits/ · reads 1,788",
            True,
        ),
        ("training 0.70 s\nruns/20250101-000000-digits/ · reads 1,789", False),
    ],
)
def test_output_of_a_run_is_kept_if_only_times_differ(
    said: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = "<!-- generated: run-output -->\n{}\n<!-- end -->"
    old = part.format("training 0.70 s\nruns/20250101-000000-digits/ · reads 1,788")
    monkeypatch.setitem(PARTS, "run-output", lambda: said)

    assert part.format(said) == current(old, runs=True, measure=True)
    assert (old if is_kept else part.format(said)) == current(old, runs=True)


def test_links_between_documents_are_valid() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert [] == broken


def test_anchors_in_documents_exist() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}#{anchor}"
        for path in documents()
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]*)\)", path.read_text("utf-8"))
        if "://" not in target
        and anchor not in _anchors((path.parent / target) if target else path)
    ]
    assert [] == broken


def test_commands_and_options_in_documents_exist() -> None:
    """Options after the name of a script are those of the script."""
    group = click.Context(main, **main.context_settings)
    options = {
        name: {
            option
            for parameter in command.get_params(group)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name in main.list_commands(group)
        if (command := main.get_command(group, name)) is not None
    }
    said = [(path.relative_to(ROOT), *found) for path in documents() for found in _said(path)]
    unknown = [one for one in said if one[1] not in options]
    unknown += [
        (path, name, option)
        for path, name, rest in said
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", re.split(r"\.py\s", rest)[0])
        if option not in options.get(name, {option})
    ]

    assert 100 < len(said)
    assert [] == unknown


def _said(path: Path) -> list[tuple[str, str]]:
    """Return the commands of varsim in a document, each with its arguments."""
    text = path.read_text("utf-8")
    spans = re.findall(r"`varsim ([a-z]+)([^`]*)`", text)
    prompts = re.findall(r"^(?: {4})?\$ varsim ([a-z]+)([^#\n]*)", text, re.MULTILINE)
    # An indented line that ends with a period is a sentence of an output.
    indented = re.findall(r"^ {4}varsim ([a-z]+)(?=.*[^.\n]$)([^#\n]*)", text, re.MULTILINE)
    return [*spans, *prompts, *indented]


def test_each_row_of_a_table_has_as_many_cells_as_its_heading() -> None:
    """A bar in a cell must be escaped, or else it begins another cell."""
    tables = [
        (path, [_cells(line) for line in table.splitlines()])
        for path in documents()
        for table in re.findall(r"(?:^\|.*\n)+", path.read_text("utf-8"), re.MULTILINE)
    ]

    assert 100 < len(tables)
    assert [] == [
        f"{path.relative_to(ROOT)}: {row}"
        for path, rows in tables
        for row in rows
        if len(row) != len(rows[0])
    ]


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_decision_record_is_in_the_list_of_decisions() -> None:
    adr = ROOT / "docs" / "adr"
    listed = re.findall(r"\((\d{4}-[^)]*)\)", (adr / "README.md").read_text("utf-8"))
    assert listed == sorted(path.name for path in adr.glob("[0-9]*.md"))


def test_every_kind_of_finding_is_described() -> None:
    said = "".join(
        (ROOT / "docs" / name).read_text("utf-8") for name in ("findings.md", "oracle.md")
    )
    missing = [one.name for one in SEARCHED_KINDS if f"**{one.name}**" not in said]
    assert [] == missing


@pytest.mark.thorough
def test_every_module_has_a_docstring() -> None:
    """`make docs` copies the first sentence of each docstring into ARCHITECTURE.md."""
    modules = [p for top in ("varsim", "workers") for p in (ROOT / top).rglob("*.py")]
    silent = [str(p.relative_to(ROOT)) for p in modules if p.stat().st_size and not _speaks(p)]
    assert [] == silent


def _speaks(path: Path) -> bool:
    try:
        return len(first_sentence(path)) > 10
    except SystemExit:
        return False
