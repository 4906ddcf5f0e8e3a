"""The command `varsim exec --spmd` in this process, on the simulated cluster."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.experiments.store import load_summary
from varsim.report.summary import RunStatus, Summary
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history

SCRIPT = """
import os, sys
import varsim as tf
context = tf.distribute.get_replica_context()
rank = context.replica_id_in_sync_group
"""


@pytest.fixture(autouse=True)
def _without_tf_config(in_one_process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)


def run(more: str, *options: str, args: tuple[str, ...] = ()) -> Result:
    Path("script.py").write_text(SCRIPT + more)
    given = ["-n", "3", "-q", *options]
    return CliRunner().invoke(main, ["exec", "--spmd", *given, "script.py", *args])


def latest() -> Summary:
    return load_summary(Path("runs/latest"))


def test_every_replica_runs_the_whole_script():
    """The script has its name, its arguments, and the variables of other launchers."""
    before = sys.modules["__main__"], sys.argv, sys.path[:], os.environ.get("RANK")
    result = run(
        "if __name__ == '__main__':\n"
        "    print(sys.argv, os.environ['RANK'], os.environ['WORLD_SIZE'])\n"
        "    print(context.all_reduce('SUM', rank + 1.0), end='')\n",
        args=("--lr", "3"),
    )

    assert 0 == result.exit_code, result.output
    assert {
        *(f"[replica {i}] ['script.py', '--lr', '3'] {i} 3" for i in range(3)),
        *(f"[replica {i}] 6.0" for i in range(3)),
    } == set(result.stdout.splitlines())
    assert before == (sys.modules["__main__"], sys.argv, sys.path[:], os.environ.get("RANK"))
    assert (1, True) == (latest().calls, latest().experiment["spmd"])
    assert ["cpu:0", "cpu:1", "cpu:2"] == latest().devices


def test_output_is_shown_while_the_script_runs():
    """Replica 0 prints before it waits, so its line is before the lines of the other replicas."""
    result = run("print('a')\ncontext.barrier()\nprint('b')\n")

    assert ["a", "b"] == [line[-1] for line in result.stdout.splitlines()[::3]]


def test_stdout_and_stderr_stay_apart():
    result = run("print('out')\nprint('err', file=sys.stderr)\n")

    assert 3 * ["out"] == [line.split()[-1] for line in result.stdout.splitlines()]
    assert 3 * ["err"] == [line.split()[-1] for line in result.stderr.splitlines()]


def test_a_module_beside_the_script_is_imported():
    Path("beside_spmd.py").write_text("answer = 42\n")

    assert "[replica 2] 42\n" in run("import beside_spmd\nprint(beside_spmd.answer)\n").stdout
    del sys.modules["beside_spmd"]


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ("3", 3, "replica 1 called sys.exit(3) at script.py:6\n"),
        ("256", 1, "replica 1 called sys.exit(256) at script.py:6\n"),
        ("'no more'", 1, "replica 1 called sys.exit('no more') at script.py:6\n"),
    ],
)
def test_the_exit_code_of_a_replica_ends_the_script_on_all(said: str, code: int, text: str):
    """The other replicas would wait for ever, so the exit is an error, even in the last line."""
    result = run(f"if rank == 1: sys.exit({said})\ncontext.barrier()\n")

    assert (code, text) == (result.exit_code, result.stderr)
    assert RunStatus.FAILED is latest().status


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(0)"])
def test_a_normal_exit_of_all_replicas_is_no_failure(end: str):
    assert 0 == run(f"context.barrier()\n{end}\nprint('never')\n").exit_code
    assert RunStatus.DONE is latest().status


def test_a_replica_that_ends_early_is_named_with_the_lines_of_the_others():
    result = run("if rank == 1: sys.exit(0)\ncontext.all_reduce('SUM', 1.0, name='loss')\n")

    assert 1 == result.exit_code
    assert "replica 1: never arrived; its script ended after 0 collectives" in result.stderr
    assert (
        "If a replica has no more data, let it call context.join() or hvd.join()" in result.stderr
    )
    assert "replicas 0, 2: all_reduce(SUM, float32[], name='loss') at script.py:7" in result.stderr


def test_collectives_that_differ_are_named():
    result = run("context.all_reduce('SUM' if rank else 'MEAN', 1.0)\n")

    assert "replica 0: all_reduce(MEAN, float32[]) at script.py:6" in result.stderr
    assert "replicas 1, 2: all_reduce(SUM, float32[]) at script.py:6" in result.stderr


def test_an_exception_is_shown_with_the_lines_of_the_script():
    result = run("def train():\n    raise KeyError('mine')\nif rank == 2: train()\n")

    assert 1 == result.exit_code
    assert result.stderr.startswith(
        '[replica 2] Traceback (most recent call last):\n[replica 2]   File "script.py", line 8, '
        "in <module>\n"
    )
    assert result.stderr.endswith("[replica 2] KeyError: 'mine'\n")
    assert "varsim" not in result.stderr
    assert "script.py:7" == latest().failure.location  # type: ignore[union-attr]


def test_a_syntax_error_is_shown_once_before_any_worker_starts():
    result = run("def\n")
    text = '  File "script.py", line 6\n    def\n       ^\nSyntaxError: invalid syntax\n'

    assert (1, text) == (result.exit_code, result.stderr)
    failure = latest().failure
    assert failure is not None
    assert ("SyntaxError", "script.py:6", 0) == (failure.kind, failure.location, latest().calls)
    shown = CliRunner().invoke(main, ["exec", "--spmd", "-n", "3", "script.py"]).stdout
    assert "Python could not compile the program, so no workers started" in shown


@pytest.mark.parametrize(
    ("code", "frame", "said"),
    [
        ("import beside_syntax\n", "import beside_syntax", "SyntaxError: "),
        ("from numpy import absent\n", "from numpy import absent", "ImportError: cannot import"),
        ("from varsim import keras\n", "from varsim import keras", "ImportError: cannot import"),
        ("context.all_reduce('SUM', 'x')\n", "all_reduce", "varsim.errors.ValueTypeError: "),
        (
            "def step():\n    import beside_absent\n"
            "tf.distribute.MultiWorkerMirroredStrategy().run(step)\n",
            "import beside_absent",
            "ModuleNotFoundError: No module named 'beside_absent'",
        ),
    ],
)
def test_the_traceback_of_a_script_has_no_frames_of_varsim(code: str, frame: str, said: str):
    Path("beside_syntax.py").write_text("def f(:\n")
    result = run(code)
    lines = result.stderr.splitlines()

    assert 1 == result.exit_code
    assert 1 == result.stderr.count("Traceback (most recent call last)")
    assert said in lines[-1]
    assert frame in result.stderr
    assert {"script.py", "beside_syntax.py"} >= {
        line.split('"')[1].rpartition("/")[2] for line in lines if '  File "' in line
    }


def test_the_headline_of_a_failed_script_has_no_colon_at_its_end():
    """The lines of details are in the error itself, and in `varsim check`."""
    Path("script.py").write_text(SCRIPT + "if rank: context.all_reduce('SUM', 1.0)\n")
    result = CliRunner().invoke(main, ["exec", "--spmd", "-n", "2", "script.py"])

    said = " ".join(result.stdout.split())
    assert (
        "MismatchError: replicas wait at collective 1 of this script for a replica that will "
        "not arrive varsim" in said
    )


def test_output_before_a_failure_is_not_lost():
    result = run("print('last words')\nif rank == 0: raise ValueError\ncontext.barrier()\n")

    assert {f"[replica {i}] last words" for i in range(3)} == set(result.stdout.splitlines())


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("tf.distribute.MirroredStrategy()", "of the script would start workers of its own in"),
        (
            "with tf.distribute.OneDeviceStrategy('cpu:0').scope(): pass",
            "strategy.scope of OneDeviceStrategy('cpu:0') is used in the script of varsim exec "
            "--spmd: two strategies cannot be mixed.",
        ),
    ],
)
def test_another_strategy_of_the_script_is_refused(code: str, text: str):
    result = run(f"{code}\n")

    assert f"ContextError: {text}" in result.stderr.replace(_STARTS_WORKERS, "")
    assert "tf.distribute.MultiWorkerMirroredStrategy()" in result.stderr


_STARTS_WORKERS = "a MirroredStrategy, CentralStorageStrategy or ParameterServerStrategy "


def test_replicas_can_create_variables_together():
    """The settings of the experiment apply to these variables, and the record has them."""
    result = run(
        "v = tf.Variable(1.0, name='v', aggregation=tf.VariableAggregation.SUM)\n"
        "v.assign_add(1.0)\nprint(float(v.read_value()))\n",
        "--mode",
        "v=on_write",
    )

    assert "[replica 1] 4.0\n" in result.stdout
    assert [("v", "ON_WRITE", 3)] == [
        (one.name, one.synchronization, one.writes) for one in latest().variables
    ]


def test_the_number_of_workers_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VARSIM_WORKERS", "2")
    Path("script.py").write_text(SCRIPT)
    CliRunner().invoke(main, ["exec", "--spmd", "-q", "script.py"])

    assert 2 == len(latest().devices)


def test_the_run_can_be_repeated():
    run("print(rank)\n")
    result = CliRunner().invoke(main, ["run", "runs/latest"])

    assert "[replica 2] 2\n" in result.stdout


def test_spmd_needs_a_script():
    Path("a.yaml").write_text("spmd: true\n")
    result = CliRunner().invoke(main, ["run", "a.yaml"])

    assert 2 == result.exit_code
    assert "spmd needs a script" in result.stderr


def test_the_record_is_judged_with_output_locks_and_messages():
    result = run(
        "with context.lock('file'):\n    print('a')\n"
        "context.barrier()\nprint('b')\n"
        "if rank == 0: context.send(1, to=1)\nelif rank == 1: print(context.recv(0))\n"
    )
    checked = CliRunner().invoke(main, ["check", "runs/latest"])

    assert 0 == result.exit_code, result.stderr
    assert (0, RunStatus.DONE) == (checked.exit_code, latest().status), checked.stdout


@pytest.mark.parametrize(("policy", "replicas"), [("restart", 3), ("shrink", 2)])
def test_after_a_lost_worker_the_script_begins_again(policy: str, replicas: int):
    with simulated_cluster(deaths={1: 3}):
        result = run(
            "for _ in range(3): context.barrier()\nprint(context.all_reduce('SUM', 1.0))\n",
            "--on-worker-lost",
            policy,
        )

    assert 0 == result.exit_code
    assert {f"[replica {i}] {float(replicas)}" for i in range(replicas)} == set(
        result.stdout.splitlines()
    )
    assert (
        "replica 1 was lost, so the script begins again from its first line, on "
        f"{replicas} replicas (incarnation 2)" in result.stderr
    )


def test_a_lost_worker_ends_the_script():
    with simulated_cluster(deaths={1: 3}):
        result = run("for _ in range(3): context.barrier()\n")

    assert 1 == result.exit_code
    assert result.stderr.startswith("WorkerLost: replica 1: worker was killed by SIGKILL")
    assert "--on-worker-lost restart" in result.stderr
    assert "strategy.restart()" not in result.output + result.stderr


def test_ctrl_c_ends_the_script_on_all_replicas():
    """A merge function runs in the program's process, as Ctrl-C does."""
    result = run(
        "def stop(strategy):\n    raise KeyboardInterrupt\ncontext.merge_call(stop)\n"
        "print('never')\n"
    )

    assert (130, RunStatus.INTERRUPTED) == (result.exit_code, latest().status)
    assert "never" not in result.stdout


# ---------------------------------------------------------------- TensorFlow

WORKERS = """
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    v = tf.Variable(float(rank), name="v", aggregation=tf.VariableAggregation.SUM)
"""


def test_a_multi_worker_strategy_has_a_replica_on_each_worker():
    """The record of its operations is judged as that of one program."""
    result = run(
        WORKERS + "strategy.run(lambda: v.assign_add(1.0 + rank))\nv.assign(v.numpy() + 1)\n"
        "print(float(v.numpy()), float(strategy.reduce('SUM', rank, axis=None)))\n"
    )
    checked = CliRunner().invoke(main, ["check", "runs/latest"])

    assert {f"[replica {i}] 7.0 3.0" for i in range(3)} == set(result.stdout.splitlines())
    assert (0, 0) == (result.exit_code, checked.exit_code), result.stderr + checked.stdout
    assert [("v", "ON_WRITE", "SUM")] == [
        (one.name, one.synchronization, one.aggregation) for one in latest().variables
    ]


def test_a_worker_that_writes_another_value_ends_the_script_with_all_lines():
    result = run(WORKERS + "v.assign(float(rank))\n")

    assert 1 == result.exit_code
    assert "DisagreementError: variable 'v' at script.py:10" in result.stderr
    assert "  replica 2: 2.0 at script.py:10" in result.stderr


def test_a_worker_that_reads_a_metric_alone_gets_the_remedy():
    """The other workers are in another operation, so its line is named beside theirs."""
    result = run(
        WORKERS + "if rank == 0: strategy.reduce('SUM', 1.0, axis=None)\n"
        "strategy.run(lambda: v.assign_add(1.0))\n"
    )

    assert "did different things at collective 2 of this script" in result.stderr
    assert "  only replica 0: strategy.reduce(SUM, float32[]) at script.py:10\n" in result.stderr
    assert "  replicas 1, 2: v.assign_add (float32 scalar) at script.py:11\n" in result.stderr
    assert "must perform each of them, even if only one needs it.\n" in result.stderr


def test_a_worker_that_ends_early_is_named_with_the_operation_of_the_others():
    result = run(WORKERS + "if rank == 2: sys.exit(0)\nstrategy.gather([[rank]], axis=0)\n")

    assert 1 == result.exit_code
    assert "replica 2: never arrived; its script ended after 1 collective" in result.stderr
    assert "replicas 0, 1: strategy.gather(int32[any, 1], axis=0) at script.py:11" in result.stderr


@pytest.mark.parametrize("messages", [0, 2])
def test_a_worker_that_is_lost_before_or_after_its_start_is_named_at_once(messages: int):
    with simulated_cluster(deaths={1: messages}):
        result = run(WORKERS + "v.assign(2.0)\nv.assign(3.0)\nprint('never')\n")

    assert 1 == result.exit_code
    assert "WorkerLost: replica 1" in result.stderr
    assert "never" not in result.stdout


def test_the_record_has_the_lines_of_the_script():
    """The operations are performed in another process than that of the script."""
    result = run(WORKERS + "v.assign(2.0)\nv.values[0].assign(3.0)\n")
    with open_history(Path("runs/latest/history.db")) as history:
        events = [*history.events("kind IN ('read', 'write')")]
        created = [one.created_at for one in history.variables.values()]

    assert 0 == result.exit_code, result.stderr
    assert ["script.py:9"] == created
    assert {"script.py:10", "script.py:11"} == {event.location for event in events}


@pytest.mark.parametrize(
    ("read", "operation", "found"),
    [
        ("metric.values[0].numpy()", "own", "no finding"),
        ("strategy.experimental_local_results(metric)[0].numpy()", "own", "no finding"),
        ("strategy.reduce('SUM', metric, axis=None)", "own", "no finding"),
        ("strategy.run(metric.read_value)", None, "stale read: metric"),
    ],
)
def test_a_worker_that_looks_at_its_own_component_outside_run_wants_no_other_writes(
    read: str, operation: str | None, found: str
):
    result = run(
        WORKERS + "settings = dict(\n"
        "    synchronization=tf.VariableSynchronization.ON_READ,\n"
        "    aggregation=tf.VariableAggregation.SUM,\n"
        ")\n"
        "with strategy.scope():\n"
        "    metric = tf.Variable(0.0, name='metric', **settings)\n"
        "strategy.run(lambda: metric.assign_add(1.0 + rank))\n"
        f"metric.numpy()\n{read}\n"
    )
    checked = CliRunner().invoke(main, ["check", "runs/latest"])
    asked = CliRunner().invoke(main, ["whatif", "--set", "metric=none", "runs/latest"])

    assert (0, 0) == (result.exit_code, asked.exit_code), result.stderr + asked.stderr
    assert found in checked.stdout
    assert (operation is None) == ("stale reads:" in asked.stdout), asked.stdout
    with open_history(Path("runs/latest/history.db")) as history:
        reads = [*history.events("kind = 'read' AND process >= 0")]
    assert 3 * [operation] == [event.operation for event in reads]


def test_each_worker_has_its_tf_config():
    result = run(
        "resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()\n"
        "print(os.environ['TF_CONFIG'], resolver.task_id, resolver.cluster_spec().as_dict())\n"
    )

    names = ["worker-0", "worker-1", "worker-2"]
    shown = '{"cluster": {"worker": ["worker-0", "worker-1", "worker-2"]}, "task": '
    assert {
        f'[replica {i}] {shown}{{"type": "worker", "index": {i}}}}} {i} {{\'worker\': {names}}}'
        for i in range(3)
    } == set(result.stdout.splitlines())
    assert "TF_CONFIG" not in os.environ


def test_a_chief_is_the_first_worker_and_workers_are_counted_beside_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """As in TensorFlow: `task_id` counts the tasks of one job, and the chief is a replica, too."""
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}}')
    result = run(
        "own = tf.distribute.cluster_resolver.TFConfigClusterResolver()\n"
        "strategy = tf.distribute.MultiWorkerMirroredStrategy()\n"
        "of = strategy.cluster_resolver\n"
        "print(own.task_type, own.task_id, of.task_type, of.task_id, of.num_workers,"
        " of.master(), of.cluster_spec().as_dict(), strategy.extended.should_checkpoint,"
        " strategy.num_replicas_in_sync, own.cluster_spec() == of.cluster_spec())\n"
    )

    spec = "{'chief': ['chief-0'], 'worker': ['worker-0', 'worker-1']}"
    assert {
        f"[replica 0] chief 0 chief 0 3 chief-0 {spec} True 3 True",
        f"[replica 1] worker 0 worker 0 3 worker-0 {spec} False 3 True",
        f"[replica 2] worker 1 worker 1 3 worker-1 {spec} False 3 True",
    } == set(result.stdout.splitlines()), result.stderr

    monkeypatch.delenv("TF_CONFIG")
    again = CliRunner().invoke(main, ["run", "latest"])
    config = '{"cluster": {"chief": ["chief-0"], "worker": ["worker-0", "worker-1"]}}'
    assert (2, True) == (again.exit_code, f"Set it again: TF_CONFIG='{config}'" in again.stderr)
    monkeypatch.setenv("TF_CONFIG", config)
    assert 0 == CliRunner().invoke(main, ["run", "latest"]).exit_code


@pytest.mark.parametrize(
    ("cluster", "count"),
    [
        ('{"worker": ["a:1", "b:1"]}', 2),
        ('{"chief": ["c:1"], "worker": ["a:1", "b:1"], "evaluator": ["e:1"]}', 3),
    ],
)
def test_the_number_of_workers_can_come_from_tf_config(
    monkeypatch: pytest.MonkeyPatch, cluster: str, count: int
):
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {cluster}}}')
    Path("script.py").write_text(SCRIPT)
    CliRunner().invoke(main, ["exec", "--spmd", "-q", "script.py"])

    assert count == len(latest().devices)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ('{"cluster": {"worker": ["a:1"]}}', "describes 1 worker, but --workers (-n) 3: 3 workers"),
        ("{", "TF_CONFIG is not JSON"),
        ('{"cluster": {"worker": "a:1"}}', "must be a list of addresses"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}', 'must have a "type"'),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', 'must have an "index"'),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "has no task 1 of the job 'worker'",
        ),
        ('{"cluster": {"worker": ["a:1"], "ps": ["p:1"]}}', "has the job 'ps'"),
        ('{"cluster": {"evaluator": ["a:1"]}}', "a cluster without workers"),
        ('{"cluster": {"chief": ["a:1", "b:1"], "worker": ["c:1"]}}', "has 2 tasks of the job"),
        ('{"task": {"type": "evaluator", "index": 0}}', "evaluator's program without --spmd"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
            "evaluator's program without --spmd",
        ),
        ('{"task": {"type": "ps", "index": 0}}', "has the job 'ps'"),
    ],
)
def test_a_wrong_tf_config_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, config: str, text: str
):
    monkeypatch.setenv("TF_CONFIG", config)
    result = run("print('never')\n")

    assert (2, "") == (result.exit_code, result.stdout)
    assert text in result.stderr


def test_a_tf_config_that_agrees_is_no_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1", "c:1"]}}')

    assert 0 == run("pass\n").exit_code
    assert {"cluster": {"worker": ["a:1", "b:1", "c:1"]}} == json.loads(os.environ["TF_CONFIG"])
