"""Runs of programs with parameter servers: recorded, judged, shown and exported."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.archives import unpack_tar
from varsim.cli.main import main
from varsim.errors import ConfigError
from varsim.experiments.finished_run import FinishedRun
from varsim.experiments.store import load_summary
from varsim.report.summary import ServedUse
from varsim.testing import simulated_cluster

SCRIPT = """
import varsim as tf

strategy = tf.distribute.ParameterServerStrategy()
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    v = tf.Variable(0.0, name="v")
    table = tf.Variable([1.0, 2.0], name="table")

def step():
    v.assign(v + 1.0)
    table.scatter_add(tf.IndexedSlices([1.0], [1]))

for _ in range(20):
    coordinator.schedule(step)
coordinator.join()
print(float(v.numpy()))
"""
MIRRORED = """
mirrored = tf.distribute.MirroredStrategy(["a", "b"])
with mirrored.scope():
    m = tf.Variable(0.0, name="m", aggregation=tf.VariableAggregation.SUM)
mirrored.run(lambda: m.assign_add(1.0))
"""
LATEST = Path("runs/latest")


@pytest.fixture(autouse=True)
def _lossy_cluster(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Simulate a cluster in which updates are lost."""
    monkeypatch.setattr(getpass, "getuser", lambda: "myself")
    with simulated_cluster(1):
        yield


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def ran(*options: str, script: str = SCRIPT) -> Result:
    Path("script.py").write_text(script)
    result = varsim("exec", *options, "script.py")
    assert 0 == result.exit_code, result.output
    return result


def said(result: Result) -> str:
    return " ".join(result.output.split())


# ---------------------------------------------------------------- the run and its summary


def test_a_run_counts_what_servers_did_and_judges_their_record() -> None:
    result = ran("-n", "3")
    final = float(result.stdout.split()[0])
    summary = load_summary(LATEST)
    v, table = summary.variables

    assert (3, 1, 20) == (len(summary.devices), summary.servers, summary.closures)
    assert ("v", 21, 20, 2 * 41, 4 * 41) == (v.name, v.reads, v.writes, v.messages, v.size_bytes)
    assert isinstance(v.served, ServedUse)
    assert 20 == v.served.based_writes
    assert 0 < v.served.behind <= v.served.most_behind
    assert 0 < v.served.stale_writes <= 20
    assert ("table", 0, 20, 12 * 20) == (table.name, table.reads, table.writes, table.size_bytes)
    assert [1.0, 22.0] == table.lens.value.elements  # type: ignore[union-attr]
    assert final == v.lens.value.elements  # type: ignore[union-attr]
    assert summary.verdict is not None
    assert ("VALID", ["lost update: v, script.py:11"]) == (
        summary.verdict.outcome,
        summary.verdict.findings,
    )
    assert "script: 20 closures" in result.stdout
    assert "3 workers · 1 parameter server" in result.stdout
    assert "Every read and every write went to a parameter server: 122 messages" in said(result)
    assert "" == result.stderr


def test_without_a_record_the_costs_are_known() -> None:
    result = ran("--trace", "off")

    assert [82, 40] == [one.messages for one in load_summary(LATEST).variables]
    assert "Nothing was recorded" in result.stdout
    assert "trace: off" in varsim("check").stderr


def test_a_trace_of_the_programs_own_stays_where_it_is() -> None:
    own = "from varsim.tracing.trace import TraceOptions\n" + SCRIPT
    result = ran(script=own.replace("Strategy()", "Strategy(trace=TraceOptions('own'))"))

    assert f"`varsim check {Path('own').absolute()}` judges that trace" in result.stderr
    assert 5 == varsim("check", "own", "--fail-on", "any").exit_code
    assert 2 == varsim("check").exit_code


def test_a_workload_may_make_a_cluster_with_servers() -> None:
    """The strategy of the job has the folder of the run, and the servers have the next one."""
    body = SCRIPT.replace("import varsim as tf\n", "").replace("\n", "\n    ")
    Path("work.py").write_text(f"import varsim as tf\n\ndef run(job):{body}return {{}}\n")
    result = varsim("run", "work.py", "--workers", "2")
    names = [one.name for one in load_summary(LATEST / "strategy-2").variables]

    assert (0, ["v", "table"]) == (result.exit_code, names)
    assert 5 == varsim("check", "--fail-on", "lost-update").exit_code


def test_each_strategy_has_a_record_of_its_sort() -> None:
    ran(script=SCRIPT + MIRRORED)
    told = json.loads(varsim("check", "--json").stdout)

    assert ["v", "table"] == [one["variable"] for one in told["variables"]]
    assert ["VALID"] == [one["outcome"] for one in told["further"]]
    assert (LATEST / "strategy-2/history.db").is_file()
    assert "only one is shown" in said(varsim("lens"))


def test_settings_without_effect_on_servers_are_named() -> None:
    Path("script.py").write_text(SCRIPT)
    Path("experiment.yaml").write_text(
        "script: script.py\ntrace: {steps: '1:2'}\nfaults: ['raise replica=0 call=1']\n"
    )
    result = varsim("run", "experiment.yaml")

    assert 0 == result.exit_code
    assert "no fault was injected" in result.stderr
    assert "trace.steps has no effect on parameter servers" in result.stderr


def test_each_option_for_replicas_is_named_on_servers() -> None:
    """A value that asks for nothing is not named."""
    options = ("--on-worker-lost", "restart", "--uneven", "join", "--strict", "--exchange", "auto")
    result = ran(*options)

    for option in ("--on-worker-lost restart", "--uneven join", "--strict"):
        assert f"{option}: no effect: it applies to replicas" in said(result)
    assert "--exchange" not in result.stderr
    assert 3 == len(load_summary(LATEST).warnings)
    assert "no effect" not in ran(*options, script=SCRIPT + MIRRORED).stderr


def test_a_transport_that_servers_do_not_have_is_one_line() -> None:
    Path("script.py").write_text(SCRIPT)
    result = varsim("exec", "--transport", "tcp", "script.py")

    assert 2 == result.exit_code
    assert "--transport tcp: the ParameterServerStrategy at script.py:4 has only" in said(result)
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("options", "script", "text"),
    [
        (("--mode", "v=on_read"), SCRIPT, "--mode v=on_read: the variables of this program are"),
        (("--mode", "on_read"), SCRIPT, "--mode on_read: the variables of this program are"),
        (("--mode", "v=on_read"), SCRIPT + MIRRORED, "--mode v=on_read: variable 'v' is"),
    ],
)
def test_a_mode_for_a_variable_on_a_server_has_no_effect(
    options: tuple[str, ...], script: str, text: str
) -> None:
    Path("script.py").write_text(script)
    result = varsim("exec", *options, "script.py")

    assert 0 == result.exit_code
    assert f"{text} on a parameter server, where modes" in said(result)


def test_settings_of_variables_on_servers_have_no_effect() -> None:
    Path("script.py").write_text(SCRIPT)
    Path("experiment.yaml").write_text(
        "script: script.py\nvariables: {v: {synchronization: on_read}}\n"
    )
    result = varsim("run", "experiment.yaml")

    assert 0 == result.exit_code
    assert "variables.v: the variables of this program are on a parameter server" in said(result)


@pytest.mark.parametrize(
    ("arguments", "clause"),
    [
        ("workers=2", "has workers=2"),
        (
            "tf.distribute.cluster_resolver.SimpleClusterResolver(tf.train.ClusterSpec("
            "{'worker': ['localhost:1'], 'ps': ['localhost:2']}))",
            "has a cluster_resolver with 1 worker",
        ),
    ],
)
def test_a_number_of_workers_is_given_in_one_place(arguments: str, clause: str) -> None:
    Path("script.py").write_text(SCRIPT.replace("Strategy()", f"Strategy({arguments})"))
    result = varsim("exec", "-n", "3", "script.py")

    assert 2 == result.exit_code
    assert (
        f"the ParameterServerStrategy at script.py:4 {clause}: omit workers, or write "
        "ParameterServerStrategy() there"
    ) in said(result)


@pytest.mark.parametrize(
    ("end", "code", "headline", "reached"),
    [
        ("coordinator.join()", 1, "failed after {} of 23 closures", "failed after {} of 23"),
        ("raise KeyboardInterrupt", 130, "interrupted after {} of 23 closures", "after {} of 23"),
        ("print(end())", 0, "script: {} of 23 closures", ""),
    ],
    ids=["failed", "interrupted", "caught"],
)
def test_closures_that_were_cancelled_are_not_counted_as_run(
    end: str, code: int, headline: str, reached: str
) -> None:
    """Each worker has two closures when the first one fails, and all others are cancelled."""
    Path("script.py").write_text(
        f"""{SCRIPT}
def fail():
    raise ValueError("row 1")

def end():
    try:
        coordinator.join()
    except ValueError:
        return "caught"

for _ in range(3):
    coordinator.schedule(fail)
{end}
"""
    )
    result = varsim("exec", "-n", "1", "script.py")
    summary = load_summary(LATEST)
    ended = summary.closures_ended

    assert (code, 23) == (result.exit_code, summary.closures)
    assert ended is not None
    assert 20 <= ended <= 22
    assert headline.format(ended) in result.stdout
    assert reached.format(ended) in said(varsim("check"))


def test_a_failed_program_is_the_first_finding() -> None:
    Path("script.py").write_text(SCRIPT + "raise ValueError('too bad')\n")
    assert 1 == varsim("exec", "script.py").exit_code
    result = varsim("check")

    assert 1 == result.exit_code
    assert result.output.startswith("failed run")
    assert "ValueError: too bad" in result.output
    assert "lost update: v" in result.output


# ---------------------------------------------------------------- check, lens, whatif


def test_an_event_is_shown_with_the_operations_around_it() -> None:
    ran()
    (finding,) = json.loads(varsim("check", "--json").stdout)["findings"]
    number = finding["events"][0]
    told = json.loads(varsim("check", "--event", str(number), "--json").stdout)[0]
    page = said(varsim("check", "--event", str(number)))

    assert f"`--event {number}` shows that event" in varsim("check").stdout
    assert ("v", "assign", number) == (told["variable"], told["operation"], told["event"])
    assert number in told["around"]
    assert f"event {number} operation assign by closure {told['closure']}" in page
    assert f"based on its read of version {told['based_on']}" in page
    last = len(json.loads(varsim("lens", "latest", "v", "--json").stdout))
    assert "no such event" in varsim("check", "--event", str(last * 100)).stderr


def test_the_lens_shows_who_made_and_read_each_version() -> None:
    ran()
    versions = json.loads(varsim("lens", "latest", "v", "--json").stdout)
    final = versions[-1]["value"][0]
    lost = [one for one in versions if one["overwritten_by"] is not None]
    page = said(varsim("lens"))

    assert list(range(21)) == [one["version"] for one in versions]
    assert 20 - final == len(lost) > 0
    assert 21 == sum(one["reads"] for two in versions for one in two["readers"])
    assert "v is shown: it has most lost updates" in page
    assert f"lost to {lost[0]['overwritten_by']}" in page
    assert "table (on parameter server 0, float32): element [1] of [2]" in said(
        varsim("lens", "latest", "table", "--at", "1")
    )
    assert "did you mean" in said(varsim("lens", "latest", "tabel"))


def test_an_element_that_a_version_does_not_have_is_not_shown() -> None:
    """The shape of a variable with an unknown dimension can change."""
    shape = SCRIPT.replace('name="table"', 'name="table", shape=[None]')
    ran(script=shape + "table.assign([7.0])\n")
    rows = varsim("lens", "latest", "table", "--at", "1").stdout.splitlines()

    assert any(row.startswith("20 ") and " 22 " in row for row in rows)
    assert any(row.startswith("21 ") and " – " in row for row in rows)


def test_a_long_record_is_shown_in_part() -> None:
    ran(script=SCRIPT.replace("range(20)", "range(60)"))

    assert "versions between the shown ones are left out" in said(varsim("lens"))
    assert "left out" not in said(varsim("lens", "--all"))


@pytest.mark.parametrize("command", ["whatif --set v=none", "advise"])
def test_a_command_for_replicas_says_which_one_shows_servers(command: str) -> None:
    ran()
    name, *options = command.split()
    result = varsim(name, "latest", *options)

    assert 2 == result.exit_code
    assert "has the record of parameter servers" in result.stderr
    assert "nothing to replay under other settings. `varsim check" in result.stderr


def test_kinds_that_are_not_in_the_record_are_not_passed_silently() -> None:
    ran()
    result = varsim("check", "--fail-on", "failed-call")

    assert 4 == result.exit_code
    assert "not looked for, because the record has only reads and writes" in result.stderr


def test_a_finished_run_has_the_findings_of_servers() -> None:
    ran()
    with FinishedRun(LATEST) as run:
        assert ("VALID", ["lost update"]) == (
            run.verdict.value,
            [one.kind.name for one in run.findings],
        )
        with pytest.raises(ConfigError, match="record of parameter servers"):
            _ = run.history


def test_a_killed_run_is_judged_as_far_as_it_was_recorded() -> None:
    ran()
    (LATEST / "summary.json").unlink()
    result = varsim("check")

    assert 0 == result.exit_code
    assert "it was killed, or the file could not be written" in said(result)


# ---------------------------------------------------------------- export


@pytest.mark.parametrize("options", [(), ("--no-values",)])
def test_an_exported_record_can_be_judged_and_names_no_machine(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    ran(script=SCRIPT.replace("v + 1.0", "v + 1234.5"))
    result = varsim("export", "latest", "sent.tar.gz", *options)
    unpack_tar("sent.tar.gz", "sent")
    (folder,) = Path("sent").iterdir()
    trace = (folder / "server-0.trace").read_bytes()
    judged = json.loads(varsim("check", str(folder), "--json").stdout)

    assert "server-0.trace" in result.stdout
    assert str(tmp_path).encode() not in trace
    assert ["lost update"] == [one["kind"] for one in judged["findings"]]
    assert ("UNKNOWN" if options else "VALID") == judged["outcome"]
    assert 20 == load_summary(folder).closures
