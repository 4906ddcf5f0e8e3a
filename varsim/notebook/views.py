"""Which function makes the HTML of which class; `varsim.shown_as_html` asks here."""

from __future__ import annotations

from functools import singledispatch

from varsim.analysis.findings.model import Finding, Findings
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.experiments.finished_run import FinishedRun, RunResult
from varsim.experiments.metric_series import Series
from varsim.notebook import finding_views, run_views, value_views
from varsim.report.run_rows import Comparison
from varsim.report.summary import Summary


@singledispatch
def html_of(shown: object) -> str | None:
    """Return an object of varsim as HTML; None if the text of `repr` must do."""
    raise AssertionError(f"{type(shown).__name__} has no function here")


html_of.register(Variable, value_views.variable_html)
html_of.register(DistributedValues, value_views.distributed_html)
html_of.register(Finding, finding_views.finding_html)
html_of.register(Findings, finding_views.findings_html)
html_of.register(FinishedRun, run_views.run_html)
html_of.register(Summary, run_views.summary_html)
html_of.register(RunResult, run_views.result_html)
html_of.register(Series, run_views.series_html)
html_of.register(Comparison, run_views.comparison_html)
