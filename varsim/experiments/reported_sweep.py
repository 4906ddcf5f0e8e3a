"""Read what a report shows of a sweep: the comparison of its points, and their metric series."""

from __future__ import annotations

from pathlib import Path

from varsim.experiments import yaml_lines
from varsim.experiments.comparison import compare_folders
from varsim.experiments.metric_series import read_series
from varsim.experiments.reported_run import metric_points
from varsim.experiments.run_ending import unreadable_summary
from varsim.experiments.store import SWEEP_FILE
from varsim.experiments.text_files import read_text
from varsim.report.run_page import typed
from varsim.webpage.sweep_page import ReportedSweep


def reported_sweep(path: Path) -> ReportedSweep:
    """Return what a report shows of the sweep in a folder.

    Raises:
        ConfigError: The folder has no sweep, or its files are damaged.
    """
    comparison = compare_folders([path])
    series = {row.name: read_series(Path(row.run)) for row in comparison.rows}
    damage = [why for row in comparison.rows if (why := unreadable_summary(Path(row.run)))]
    damage += [problem for one in series.values() for problem in one.problems]
    return ReportedSweep(
        name=path.resolve().name,
        path=typed(str(path)).rstrip("/"),
        comparison=comparison,
        yaml=read_text(path / SWEEP_FILE, yaml_lines.MAX_BYTES).strip(),
        curves={name: metric_points(one) for name, one in series.items()},
        damage=damage,
    )
