"""Makes the cluster of an experiment, for the run itself and for an oracle or a pilot run."""

from __future__ import annotations

from collections.abc import Sequence

from varsim.distribute.mirrored import MirroredStrategy
from varsim.experiments.config import Experiment
from varsim.experiments.recording import trace_options
from varsim.experiments.store import RunFiles


def strategy_of(
    experiment: Experiment, device_names: Sequence[str], files: RunFiles
) -> MirroredStrategy:
    """A strategy with an experiment's settings; what it records and says goes to `files`.

    Raises:
        OSError: The directory of the traces cannot be made.
    """
    return MirroredStrategy(
        device_names,
        transport=experiment.transport,
        strict=experiment.strict,
        auto=experiment.auto,
        log_dir=files.logs,
        trace=trace_options(experiment, files),
        seed=experiment.seed,
    )
