"""Run a script once in every worker, as `varsim exec --spmd` does (docs/adr/0056)."""

from __future__ import annotations

import sys
from typing import Final, TextIO

from varsim import environment
from varsim.distribute.cluster_resolver import has_chief
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.scripts import ReplicaScript, ScriptExit, compiled
from varsim.distribute.supervision import supervised
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import CallTimeout, ReplicaError, WorkerLost
from varsim.experiments.active_run import ActiveRun
from varsim.experiments.config import Experiment
from varsim.experiments.run_supervisor import RunSupervisor
from varsim.experiments.scripts import ScriptProgram, check_settings
from varsim.experiments.strategies import strategy_of
from varsim.interrupts import came_of_interrupt
from varsim.protocol.tracebacks import of_program, with_shown_paths, written
from varsim.report.summary import Phase
from varsim.texts.resuming import ScriptAgain

STALL_WARN_S: Final = 60.0
"""A replica for which others have waited so long is reported.

A whole script loads data and trains between two collectives, so this is much longer than for a call
of `strategy.run`. Horovod has the same time.
"""


class SpmdProgram(ScriptProgram):
    """A Python file that every worker runs as a whole, as its `__main__`.

    The script is the function of one call. So a collective of the script is a collective of this
    call, and all checks of a call apply to the script.
    """

    no_oracle = "a script runs once, on all replicas; an oracle needs a function run(job)"

    def play(self, run: ActiveRun, began_s: float) -> None:
        """Run the script on all replicas.

        An error of a replica is printed, and becomes the run's failure. A script that is not Python
        fails before any worker starts.

        Raises:
            KeyboardInterrupt: SIGINT arrived.
        """
        try:
            compiled(self.source, str(self.path))
        except (SyntaxError, ValueError) as error:
            sys.stderr.write(with_shown_paths(written(error, None)))
            run.fail(error)
            return
        supervisor = RunSupervisor(run, began_s)
        with supervised(supervisor):
            settings = _with_limits(run.experiment)
            strategy = strategy_of(settings, settings.device_names, run.directory)
        strategy.start()
        run.metric_log.step = run.metric_log.next_line
        with run.doing(Phase.TRAINING):
            try:
                with variable_creator_scope(run.settings):
                    self._run(run, strategy, supervisor)
            except Exception as error:  # a script may raise anything
                if came_of_interrupt(error):
                    raise
                _show(error, sys.stderr)
                run.fail(error)
                run.take_a_last_look()
            else:
                check_settings(run)
            finally:
                supervisor.report_losses()

    def _run(self, run: ActiveRun, strategy: MirroredStrategy, supervisor: RunSupervisor) -> None:
        """Run the script, and run it again from its beginning after lost workers."""
        argv = (self.said, *self.args)
        script = ReplicaScript(str(self.path), self.source, argv, has_chief=has_chief())
        while True:
            try:
                strategy.run(script)
            except (WorkerLost, CallTimeout) as error:
                if error.recovery is None:
                    raise
                recovery = error.recovery
            else:
                return
            supervisor.forget_losses()
            run.begin_again()
            run.warn(str(ScriptAgain(recovery)))


def _with_limits(experiment: Experiment) -> Experiment:
    """Return the experiment with the limits of a script: a replica is never ended by default."""
    limits = {}
    if experiment.stall_warn_s is None:
        limits["stall_warn_s"] = STALL_WARN_S
    if experiment.stall_fail_s is None and environment.text(environment.CALL_TIMEOUT) is None:
        limits["stall_fail_s"] = 0.0
    return experiment.model_copy(update=limits)


def _show(error: Exception, stream: TextIO) -> None:
    """Print an error of the script: for an error of one replica, with the replica's traceback."""
    cause = error if isinstance(error, ReplicaError) else error.__cause__
    if isinstance(error, ScriptExit):
        text = f"{error}\n"
    elif isinstance(cause, ReplicaError):
        lines = with_shown_paths(of_program(cause.traceback, error)).splitlines()
        text = "".join(f"[replica {cause.replica_id}] {line}\n" for line in lines)
    else:
        said = error.after_run if isinstance(error, WorkerLost | CallTimeout) else str(error)
        text = f"{type(error).__name__}: {said}\n"
    stream.write(text)
