"""The command `varsim report`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.rendering import renderer  # noqa: F401  # a fixture
from tests.webpage.runs import judged, saved
from varsim.cli.commands.report import _file_names
from varsim.cli.main import main
from varsim.experiments import reported_run
from varsim.report.summary import Failure, RunStatus
from varsim.tracing.host_traffic import HostLink, HostTraffic
from varsim.webpage import rendering as page_rendering

RUN = "runs/latest"
MOST_BYTES = 6_000_000


@pytest.fixture(autouse=True)
def _own_folder_and_quick_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page_rendering, "javascript", lambda: "// as tests/webpage has it")


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def text_of(file: str = f"{RUN}/report.html") -> str:
    """Return the words of a page, without its scripts and marks."""
    text = Path(file).read_text("utf-8")
    assert len(text) < MOST_BYTES
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


@pytest.mark.usefixtures("renderer")
def test_the_report_has_each_section_and_each_chart():
    saved(Path(RUN))
    result = varsim("--no-advice", "--svg", "charts")

    assert (0, "") == (result.exit_code, result.stderr)
    text = text_of()
    for title in (
        "Result", "Training curves", "Findings", "Modes and their costs", "Bytes and messages",
        "Waits and the critical path", "Staleness", "Value lens", "Verdict",
        "What was not looked at", "Configuration",
    ):  # fmt: skip
        assert title in text
    assert (
        "x: 10 steps on 2 workers; loss 0.25; epochs 2; 2 findings; the components of own (NONE) "
        "differ by up to 6; varsim kept"
    ) in text
    assert re.search(
        r"values stale read: n 10× 10 of 12 reads .* where .*runs.py:\d+ what to", text
    )
    assert "costs waiting for one replica: w" in text
    assert "proof events 45, 52, 72, 79, 99, 106: varsim check runs/latest --event 45" in text
    assert "Not drawn, because no value is a finite number: bad." in text
    assert "Not drawn, because the value is the same at every step: rate 0.1." in text
    assert "whether other settings are cheaper (--no-advice)" in text
    drawn = {path.stem for path in Path("charts").iterdir()}
    assert {
        "metric-loss",  "bytes", "messages", "critical-path", "waits", "staleness-0",
        "lens-0-n", "lens-1-own", "lens-2-w",
    } == drawn  # fmt: skip
    assert "Title text 'Messages by call'" in Path("charts/messages.svg").read_text("utf-8")


def test_a_run_on_several_hosts_has_a_section_on_them():
    links = [
        HostLink(ends=["", name], within=name == "a", messages=50, size_bytes=2**20, delay_s=delay)
        for name, delay in (("a", 1e-4), ("<b>", 0.0123))
    ]
    direct = HostLink(ends=["a", "<b>"], within=False, messages=9, size_bytes=2**11)
    traffic = HostTraffic.of([*links, direct], ["a"])
    saved(Path(RUN), hosts=["a", "<b>"], traffic=traffic)
    assert 0 == varsim("--no-advice").exit_code

    text = text_of()
    assert "host replicas devices messages bytes delay ms a 0 cpu:0 50 1.00 MiB 0.1" in text
    assert "&lt;b&gt; 1 cpu:1 50 1.00 MiB 12.3" in text
    assert "hosts messages bytes a – &lt;b&gt; 9 2.00 KiB" in text
    assert "Between hosts: 59 messages, 1.00 MiB. Within a host: 50 messages" in text
    assert "Hosts: replica 0 on a (cpu:0); replica 1 on &lt;b&gt; (cpu:1)." in text


@pytest.mark.parametrize("letter", ["x", "\N{CJK UNIFIED IDEOGRAPH-8868}"])
def test_long_names_of_charts_get_short_and_different_file_names(letter: str):
    keys = [f"metric-{letter * 900}{end}" for end in "ab"]
    names = _file_names(keys)

    assert 2 == len(set(names))
    for name in names:
        assert name.startswith(f"metric-{letter * 33}-")
        Path(f".{name}.svg.unfinished").touch()
    assert ["lens-0-a-b"] == _file_names(["lens-0-a/b"])


@pytest.mark.parametrize("others", [("a/b", "a-b"), ("A-b",)])
def test_similar_names_of_charts_get_different_file_names(others: tuple[str, ...]):
    """Also on a file system that does not tell capital letters from small ones."""
    keys = ["metric-a b", *(f"metric-{one}" for one in others)]
    names = _file_names([*keys, "metric-c d"])

    assert len(names) == len({name.casefold() for name in names})
    assert "metric-c-d" == names[-1]


def test_the_page_allows_only_its_own_scripts_and_no_request():
    saved(Path(RUN), experiment={"name": "</script><script>alert(1)</script><b>"})
    assert 0 == varsim("--no-advice", "-o", "x.html").exit_code
    page = Path("x.html").read_text("utf-8")

    assert "default-src 'none'" in page
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=", page)
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL):
        json.loads(data)


def test_advice_and_its_lines_are_in_the_report():
    saved(Path(RUN))
    result = varsim("-o", "x.html")

    assert 0 == result.exit_code
    assert re.search(r"Advice .*\bw: .*why", text_of("x.html"))


def test_a_long_record_without_findings_is_not_judged_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reported_run, "LONG", 10)
    saved(Path(RUN), verdict=judged())
    assert 0 == varsim("--no-advice").exit_code

    assert "it was not judged again: varsim check runs/latest does this" in text_of()


def test_a_run_without_a_record_says_why():
    folder = saved(Path(RUN), failure=Failure(kind="OddError", text="odd", traceback="line 1"),
                   status=RunStatus.FAILED)  # fmt: skip
    (folder / "history.db").unlink()
    assert 0 == varsim().exit_code

    text = text_of()
    assert "OddError: odd" in text
    assert "runs/latest has no history.db" in text
    assert re.search(r"findings, promises, advice, traffic, .* by call: runs/latest has no", text)


def test_a_failure_is_no_finding_about_values():
    failure = Failure(kind="OddError", text="odd\n  as said", traceback="line 1")
    saved(Path(RUN), failure=failure, status=RunStatus.FAILED)
    assert 0 == varsim().exit_code

    assert "The section Result has the error and its traceback." in text_of()
    assert "summary.json" not in text_of()
    assert "whether other settings are cheaper: the run failed, so its record" in text_of()
    assert not re.search(r"Advice .*\bw: .*why", text_of())
    assert re.search(r"failures \(1\) about values \(1\) .* failed failed run", text_of())
    page = Path(f"{RUN}/report.html").read_text("utf-8")
    assert re.search(r'<p class="lines">OddError: odd\n  as said', page)
    assert re.search(r'<pre class="lines".*>odd\n  as said</pre>', page)


def test_a_run_that_was_killed_has_what_was_recorded():
    (saved(Path(RUN)) / "summary.json").unlink()
    assert 0 == varsim("--no-advice").exit_code

    text = text_of()
    assert "latest was killed: only what was recorded until then is known" in text
    assert "stale read: n" in text


def test_each_record_of_a_run_has_its_sections():
    first = saved(Path(RUN), incarnations=2)
    saved(first / "strategy-2", strategy=1, incarnation=2, incarnations=2)
    (first / "strategy-2" / "experiment.yaml").unlink()
    assert 0 == varsim("--no-advice").exit_code

    text = text_of()
    assert "incarnation 1 of 2" in text
    assert "incarnation 2 of 2" in text
    assert 2 == text.count("Modes and their costs") / 2  # a link and a title


@pytest.mark.parametrize("name", ["vl_convert", "jinja2"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    saved(Path(RUN))
    monkeypatch.setitem(sys.modules, name, None)
    result = varsim()

    assert 2 == result.exit_code
    assert "pip install 'varsim-distribute[report]'" in result.stderr


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("history.db", "history.db: it has no table"),
        ("summary.json", "summary.json: it is not valid JSON"),
        ("metrics.jsonl", "line 1 of runs/latest/metrics.jsonl"),
    ],
)
def test_a_damaged_file_is_said_on_stderr_too_and_gives_code_6(file: str, said: str):
    (saved(Path(RUN)) / file).write_text("{")
    result = varsim("--no-advice")

    assert (6, True) == (result.exit_code, said in result.stderr), result.output
    assert said in text_of()


@pytest.mark.parametrize(
    ("option", "path", "said"),
    [
        ("-o", "file/x.html", "file/x.html cannot be written: {}/file is a file; name a file in"),
        ("-o", "no/x.html", "no/x.html cannot be written: {}/no does not exist; name a file in"),
        ("--png", "file/charts", "file/charts cannot be created: {}/file is a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_the_page_is_made(
    option: str, path: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    saved(Path(RUN))
    Path("file").touch()
    monkeypatch.setattr(reported_run, "reported_run", None)
    result = varsim("--no-advice", option, path)

    assert 6 == result.exit_code
    assert said.format(Path.cwd()) in result.stderr


def test_a_run_that_does_not_exist_is_an_error():
    result = varsim("nowhere")

    assert 2 == result.exit_code
    assert "there is no run 'nowhere'" in result.stderr
