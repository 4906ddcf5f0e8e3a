"""Variables and per-replica values as HTML: the value lens as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.context import current_frame
from varsim.distribute.values import DistributedValues, OwnPerReplica, PerReplica
from varsim.distribute.variable import Variable
from varsim.errors import VarsimError
from varsim.experiments.strategies import lens_of_copy, lens_of_values, look_at
from varsim.extension_dtypes import kind_of
from varsim.notebook.fragments import heading, paragraph, table, view
from varsim.report.formatting import dimensions, middle
from varsim.report.lens_page import lens_rows
from varsim.report.replica_columns import replica_columns
from varsim.report.summary import Lens
from varsim.report.tables import Column
from varsim.texts.facts import headline

_ROOM: Final = 100  # characters for the cells of replicas, so that a table is as wide as a page
_WIDEST: Final = 120  # characters of a value that is no array
_NUMBERS: Final = "biufc"  # kinds of dtypes


def variable_html(variable: Variable) -> str | None:
    """Return a variable's settings, and its components beside its value."""
    frame = current_frame()
    if frame is not None and frame.replica is not None:
        return None  # a replica has only its own component
    shape = list(variable.shape)
    settings = [
        variable.synchronization.name,
        variable.aggregation.name,
        f"{variable.dtype} {dimensions(shape) if shape else 'scalar'}",
    ]
    about = heading(variable.label, ", ".join(settings))
    try:
        lens = _lens(variable)
    except VarsimError as error:
        return view(about, paragraph(f"It cannot be read: {headline(str(error))}"))
    return view(about, *_table(lens))


def _lens(variable: Variable) -> Lens:
    if isinstance(variable, ClusterVariable):
        return look_at(variable.strategy, variable, partly=True)
    return lens_of_copy(np.asarray(variable.numpy()))


def distributed_html(values: DistributedValues) -> str | None:
    """Return the component of each replica."""
    if isinstance(values, OwnPerReplica):
        return None  # it does not know whose component it has
    joined = values.joined if isinstance(values, PerReplica) else 0
    present = len(values.values)
    arrays = _arrays(values.values)
    of_one_kind = len({(one.dtype, one.shape) for one in arrays}) == 1
    about = heading(type(values).__name__, _form(arrays[0]) if of_one_kind else "")
    if arrays and not joined:
        return view(about, *_table(lens_of_values(arrays)))
    shown = [middle(_text(one), _WIDEST) for one in values.values] + ["joined, no value"] * joined
    labels = [f"replica {i}" for i in range(present + joined)]
    return view(about, table("", labels, [Column("value", shown, right=False)]))


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {dimensions(array.shape) if array.shape else 'scalar'}"


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """Return the values as arrays of numbers; [] if one of them is something else."""
    kinds = (np.ndarray, np.generic, bool, int, float, complex)
    if not all(isinstance(one, kinds) for one in values):
        return []
    arrays = [np.asarray(one) for one in values]
    return arrays if all(kind_of(one.dtype) in _NUMBERS for one in arrays) else []


def _text(value: object) -> str:
    try:
        return repr(value)
    except VarsimError as error:  # a variable, of which the component is lost
        return headline(str(error))


def _table(lens: Lens) -> list[str]:
    """Return the table of a lens, and the sentences below it."""
    rows = lens_rows("", lens)
    columns = []
    said = []
    is_array = len(rows) > 1
    if is_array:  # the first row is a heading, and has only the distance
        if len(lens.components) > 1:
            said.append(f"Apart, the largest difference between two replicas: {rows[0].apart}.")
        del rows[0]
    if lens.components:
        shown = replica_columns([row.components for row in rows], _ROOM)
        by_row = [shown.cells(row.components) for row in rows]
        columns = [
            Column(_heading(replica), [cells[place] for cells in by_row])
            for place, replica in enumerate(shown.replicas)
        ]
        said.append(shown.sentence(len(lens.components)))
    has_value = lens.value is not None or bool(lens.refused)
    if has_value:
        columns.append(Column("value", [row.value for row in rows]))
    if lens.components and not is_array:
        columns.append(Column("apart", [row.apart for row in rows]))
    if lens.refused:
        said.append(f"No value: {lens.refused}.")
    if lens.lost:
        said.append(f"{lens.lost}.")
    labels = [row.label.strip() for row in rows]
    return [table("", labels, columns), *(paragraph(one, faint=True) for one in said if one)]


def _heading(replica: int | None) -> str:
    return "…" if replica is None else f"replica {replica}"
