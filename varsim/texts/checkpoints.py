"""Provide the sentences about checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # `varsim --help` must not import NumPy
    import numpy as np

KEY_IS_NOT_TEXT: Final = (
    "a checkpoint names objects by text, but a dict has a variable under the key {key!r}: use "
    "strings as keys"
)
TOO_MANY_OBJECTS: Final = (
    "the objects of the checkpoint hold more than {limit:,} other objects: give the checkpoint "
    "only the objects that hold variables"
)
NOT_TRACKED: Final = (
    "Checkpoint({name}={value}): a checkpoint holds variables, and lists, dicts and objects of "
    "your classes that hold variables, but this is {kind}; use tf.Variable({value})"
)
ON_A_REPLICA: Final = (
    "{what} was called on replica {replica_id} of {count}, but it needs cross-replica context: it "
    "uses the components of all replicas. If all replicas call it, they write to the same file; if "
    "one replica calls it alone, the others do not take part.\n"
    "  Call it outside strategy.run, once, after the call has returned."
)
NOT_READABLE: Final = (
    "{path!r} cannot be saved in TensorFlow's form, which saves one value for each variable: "
    "{problem}\n"
    "  Save with exact=True, which keeps the component of every replica."
)
WITHOUT_VARIABLES: Final = (
    "there is nothing to save: the objects of the checkpoint hold no variables"
)
OTHER_SHAPE: Final = (
    "{path!r} cannot be restored: the checkpoint has shape {saved}, and variable {name!r} has "
    "shape {shape}"
)
OTHER_DTYPE: Final = (
    "{path!r} cannot be restored: the checkpoint has dtype {saved}, and variable {name!r} has "
    "dtype {dtype}"
)
NO_SHARE: Final = (
    "{path!r} cannot be restored: {name!r} gets a share of the saved value on each of {count} "
    "replicas, and a bool cannot be divided"
)
LOSES_REMAINDER: Final = (
    "variable {name!r}: the checkpoint has the sum {saved}, and each of the {count} replicas gets "
    "an equal share, {share}, so the variable now reads {reads}: integers lose the remainder, as "
    "in TensorFlow. Save with exact=True, which keeps the component of every replica; or use a "
    "float dtype."
)
LOSES_REMAINDERS: Final = (
    "variable {name!r}: each of the {count} replicas gets an equal share of the saved sums, and "
    "{lossy} of {size} integers lose their remainder, as in TensorFlow. Save with exact=True, "
    "which keeps the component of every replica; or use a float dtype."
)
STARTS_ON_EACH: Final = (
    "variable {name!r}: each of the {count} replicas starts with the initial value{value}, and a "
    "read adds these components up{reads}. To continue from a saved sum, create the variable with "
    "0 and assign the sum outside strategy.run, or restore a tf.train.Checkpoint: both divide the "
    "sum."
)
OTHER_REPLICAS: Final = (
    "checkpoint {path} was saved with {saved}, and is restored with {restored}:{lines}"
)
SETTINGS_CHANGED: Final = (
    "checkpoint {path} was saved by variables with other settings, and is restored by the rules of "
    "the present settings:{lines}"
)
LEFT_OVER: Final = (
    "checkpoint {path} was restored only in part: no object of the program has taken {names}. If "
    "this is intended, call .expect_partial() on the result of restore or read."
)
NOT_IN_FILE: Final = (
    "checkpoint {path} has no value for {names}: they keep their present values. "
    ".assert_existing_objects_matched() raises an error in this case."
)
NOT_CONSUMED: Final = "checkpoint {path}: no object of the program has taken {names}"
NOT_MATCHED: Final = "checkpoint {path} has no value for {names}"
NOTHING_MATCHED: Final = (
    "checkpoint {path}: nothing was restored; it has {saved}, and the objects of the program have "
    "{present}"
)
NO_VALUES: Final = "no checkpoint was restored, because its path is None"
USES_EARLIER: Final = "{damaged}; the checkpoint before it is used: {earlier}"
NONE_IS_WHOLE: Final = "{damaged}; no earlier checkpoint is left"
WITHOUT_COPY: Final = (
    "{path}: {synchronization} keeps an authoritative copy, and the program's read returns another "
    "value, so an exact checkpoint would not have the copy. Give the policy the cells ReadCopy and "
    "ToAllAndCopy in cross-replica context, or save without exact=True"
)
WRONG_STATE: Final = (
    "checkpoint value {path}: the state of its policy does not fit variable {name!r}: {problem}"
)

_MOST: Final = 6


def starts_on_each(name: str, initial: np.ndarray, count: int) -> str:
    """Return the warning that a sum counts the initial value on every replica."""
    value = reads = ""
    if initial.ndim == 0 and initial.dtype.kind in "iuf":
        value, reads = f" {initial}", f": it reads {initial.item() * count:g} at first"
    return STARTS_ON_EACH.format(name=name, count=count, value=value, reads=reads)


def names_of(paths: list[str]) -> str:
    """Return names as text. Of a long list, the text has only the first names."""
    shown = ", ".join(repr(path) for path in paths[:_MOST])
    more = len(paths) - _MOST
    return f"{shown} and {more} more" if more > 0 else shown


def lines_of(lines: list[str]) -> str:
    """Return lines for the end of a text. Of a long list, there are only the first lines."""
    more = len(lines) - _MOST
    shown = [*lines[:_MOST], *([f"and {more} more"] if more > 0 else [])]
    return "".join(f"\n  - {line}" for line in shown)


def replicas(count: int) -> str:
    """Return a number of replicas as text; 0 stands for a variable without a strategy."""
    if count == 0:
        return "no strategy"
    return f"{count} replica{'' if count == 1 else 's'}"
