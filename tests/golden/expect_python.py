"""Computes the expected outcome of Python programs to which a rule applies: a function per rule.

A function recognises its programs by their text, and returns None for other programs. As in
`expect`, the functions use only NumPy. The result has only the part of `returned` that the rule
changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.golden.encoding import encoded
from tests.golden.expect import Array, left_fold, mean_of
from tests.golden.expect_served import (
    any_function_is_scheduled,
    fails_on_a_worker,
    replica_ids_of_closures_are_numbers,
)
from tests.golden.recorded import Case, CaseOutcome, Json, RecordedError

REFUSAL = "InvalidArgumentError"
"""The class of an expected error that stands for any error with a clear text."""


@dataclass(frozen=True, slots=True)
class CreatedVariable:
    """The variable `v` that the text of a program creates."""

    value: Array
    synchronization: str
    aggregation: str
    world: int

    @property
    def untouched(self) -> list[Json]:
        """Return the components after the creation."""
        return [encoded(self.value)] * self.world

    def state(self, each: Sequence[Array]) -> dict[str, Json]:
        """Return the state of the variable if its components are `each`."""
        combined = self.combined(each)
        read: Json = (
            encoded(combined) if combined is not None else {"error": {"type": "ValueError"}}
        )
        return {"per_replica": [encoded(part) for part in each], "cross_read": read}

    def combined(self, each: Sequence[Array]) -> Array | None:
        """Return the cross-replica value of these components, or None if the read is refused."""
        if self.synchronization != "ON_READ":
            return each[0]
        return None if self.aggregation == "NONE" else aggregated(each, self.aggregation)


def variable_of(case: Case) -> CreatedVariable | None:
    """Return the distributed variable `v` that a program creates with one value."""
    found = re.search(r"v = tf\.Variable\((\[[^\]]*\]|[-\d.]+)([^)\n]*)\)", case.text)
    if found is None or not case.is_mirrored:
        return None
    settings = dict(re.findall(r"\bV([SA])\.(\w+)", found[2]))
    return CreatedVariable(
        tensor(json.loads(found[1])),
        settings.get("S", "AUTO"),
        settings.get("A", "NONE"),
        4 if "with q.scope(): v" in case.text else case.world,
    )


def tensor(value: Any) -> Array:
    """Return Python numbers in the dtype that TensorFlow gives them."""
    found = np.asarray(value)
    return found.astype({"f": np.float32, "i": np.int32}.get(found.dtype.kind, found.dtype))


def aggregated(each: Sequence[Array], how: str) -> Array:
    """Combine all replicas' values."""
    if how == "ONLY_FIRST_REPLICA":
        return each[0]
    total = left_fold(each)
    return mean_of(total, len(each)) if how == "MEAN" and len(each) > 1 else total


def described(value: Array) -> Json:
    """Return an array in the format of the recording."""
    return {"type": "Tensor", "dtype": value.dtype.name, "value": encoded(value)}


def on_each(value: Array, case: Case) -> Json:
    """Return the same array from every replica, as `run` returns it: each worker sees its own."""
    if case.world == 1 or case.is_multi_worker:
        return described(value)
    return {"type": "PerReplica", "values": [described(value)] * case.world}


def per_replica(expression: str, world: int) -> list[Array]:
    """Return the value of an expression in each replica."""
    constant = SimpleNamespace(constant=tensor)
    return [
        tensor(eval(expression, {"rid": lambda r=r: r, "tf": constant, "W": world}))
        for r in range(world)
    ]


def refused(case: Case, after: Json, kind: str = REFUSAL) -> CaseOutcome:
    """Expect an error in the last line."""
    return CaseOutcome(
        error=RecordedError(kind=kind, at=len(case.program) - 1, after=after, message="")
    )


# ---------------------------------------------------------------- one function per rule and program


def none_is_local_state(case: Case) -> CaseOutcome | None:
    """Apply D1: each replica gets the local variable that a program creates with NONE."""
    if not (
        case.is_mirrored and "synchronization=VS.NONE" in case.text and "s.run(f)" in case.text
    ):
        return None
    return CaseOutcome(returned={"type": "LocalVariable", "values": [1.0] * case.world})


def each_contributes(case: Case) -> CaseOutcome | None:
    """Apply D2: all_reduce combines all replicas' values: also numbers, also one common object."""
    found = re.search(
        r'all_reduce\("(SUM|MEAN)", (t|[\d.]+|float\(rid\(\)\) \+ 1\.5)\)\)$', case.text
    )
    if found is None or not case.is_mirrored:
        return None
    expression = "tf.constant(3.0)" if found[2] == "t" else found[2]
    total = aggregated(per_replica(expression, case.world), found[1])
    return CaseOutcome(returned=on_each(total, case))


def arguments_of_functions_contribute(case: Case) -> CaseOutcome | None:
    """Apply D2: an argument of a tf.function is a contribution, as every other tensor.

    TensorFlow's multi-worker strategy refuses it, because a symbolic tensor names no device.
    """
    found = re.match(r"x = PR\(\[(.*?)\], '(\w+)'\)", case.text)
    how = re.search(r'tf\.function\(lambda z: .*all_reduce\("(SUM|MEAN)", y\)', case.text)
    if found is None or how is None or not case.is_multi_worker:
        return None
    each = [np.array(number, found[2]) for number in json.loads(f"[{found[1]}]")]
    return CaseOutcome(returned=described(aggregated(each, how[1])))


def each_is_gathered(case: Case) -> CaseOutcome | None:
    """Apply D2: all_gather of one object gathers it from each replica, and refuses scalars."""
    if not case.is_mirrored or case.world == 1:
        return None
    if "ctx().all_gather([3.0], axis=0)" in case.text:
        return refused(case, None)
    if "ctx().all_gather(t, axis=0)" in case.text:
        return CaseOutcome(returned=on_each(tensor([3.0] * case.world), case))
    return None


def one_replica_reduces_in_a_function(case: Case) -> CaseOutcome | None:
    """Apply D2: with one replica, all_reduce of a tf.function's argument returns the argument."""
    found = re.match(r"x = PR\(\[(.*?)\], '(\w+)'\)", case.text)
    asked = (
        case.is_mirrored and case.world == 1 and case.in_function and "all_reduce(R." in case.text
    )
    if found is None or not asked:
        return None
    return CaseOutcome(returned=described(np.array(eval(found[1]), found[2])))


def numbers_are_reduced(case: Case) -> CaseOutcome | None:
    """Apply D2: reduce combines a PerReplica of numbers. The sum and the mean of 0 are 0."""
    if not case.is_mirrored:
        return None
    if re.search(r"out = s\.reduce\(R\.\w+, 0, axis=None\)$", case.text):
        return CaseOutcome(returned={"type": "int", "value": 0})
    found = re.search(
        r"x = PR\((\[[\d., ]+\])\)\nout = s\.reduce\(R\.(\w+), x, axis=None", case.text
    )
    if found is None:
        return None
    each = [tensor(number) for number in json.loads(found[1])]
    return CaseOutcome(returned=described(aggregated(each, found[2])))


def values_are_aggregated(case: Case) -> CaseOutcome | None:
    """Apply D2: a list of numbers or a variable is each replica's contribution to `v.assign`."""
    v = variable_of(case)
    found = re.search(r"[sa]\.run\(lambda: v\.assign\((w|\[.*\])\)\)$", case.text)
    if v is None or found is None or v.synchronization == "ON_READ" or v.aggregation == "NONE":
        return None
    expression = found[1]
    if expression == "w":
        other = re.search(r"w = tf\.Variable\((\[.*?\]|[\d.]+)\)", case.text)
        if other is None:
            return None
        expression = other[1]
    total = aggregated(per_replica(expression, v.world), v.aggregation)
    return CaseOutcome(state=v.state([total] * v.world), returned={"type": "None"})


def lists_are_shared_out(case: Case) -> CaseOutcome | None:
    """Apply D2: a list of numbers assigned to ON_READ SUM is divided among replicas."""
    v = variable_of(case)
    found = re.search(r"v\.assign\((\[[\d., ]+\])(, read_value=False)?\)", case.text)
    if v is None or found is None or "s.run" in case.text:
        return None
    if (v.synchronization, v.aggregation) != ("ON_READ", "SUM"):
        return None
    parts = [mean_of(tensor(json.loads(found[1])), v.world)] * v.world
    if ".assign_add(" in case.text:  # the assign happens, then ON_READ SUM refuses the add
        return refused(case, v.state(parts)["per_replica"], "ValueError")
    if "copy.deepcopy(v)" in case.text:
        item = {"type": "list", "items": [_python(value) for value in v.value.tolist()]}
        copies = {"type": "list", "items": [item] * v.world}
        kind = {"type": "str", "value": "SyncOnReadVariable"}
        items = [kind, {"type": "bool", "value": False}, copies]
        return CaseOutcome(state=v.state(parts), returned={"type": "list", "items": items})
    returned = {"type": "None"} if found[2] else {"type": "self"}
    return CaseOutcome(state=v.state(parts), returned=returned)


def _python(value: Any) -> Json:
    return {"type": type(value).__name__, "value": value}


def mixed_operations_are_refused(case: Case) -> CaseOutcome | None:
    """Apply D3: different writes on different replicas are an error."""
    v = variable_of(case)
    ways = "v.assign(tf.constant(5.0)) if rid() == 0 else v.assign_add(tf.constant(7.0))"
    variables = "(v if rid() == 0 else w).assign("
    if v is None or not (ways in case.text or variables in case.text):
        return None
    failure = RecordedError(kind="RuntimeError", at=2, after=v.untouched, message="")
    return CaseOutcome(error=failure)


def a_failed_update_changes_nothing(case: Case) -> CaseOutcome | None:
    """Apply D4: an update that raises for one component changes no component."""
    v = variable_of(case)
    if v is None or not re.search(r'c\.assign\(5\.0\)\n.*raise KeyError\("u"\)', case.text):
        return None
    return refused(case, v.untouched, "KeyError")


def the_others_go_on(case: Case) -> CaseOutcome | None:
    """Apply D4: if one replica raises, the local writes of the other replicas still take effect."""
    v = variable_of(case)
    raises = re.search(r'if rid\(\) == (0|W - 1): raise KeyError\("boom"\)\n +v\.assign', case.text)
    if v is None or raises is None or v.synchronization != "ON_READ":
        return None
    after = [5.0] * v.world
    after[0 if raises[1] == "0" else -1] = v.untouched[0]
    return refused(case, after, "KeyError")


def a_refused_write_changes_nothing(case: Case) -> CaseOutcome | None:
    """Apply D5: a cross-replica write to ON_READ NONE raises an error and changes nothing."""
    v = variable_of(case)
    if v is None or (v.synchronization, v.aggregation) != ("ON_READ", "NONE"):
        return None
    lines = [
        i for i, line in enumerate(case.program) if "v.assign(" in line and "s.run" not in line
    ]
    if not lines or "read_value=False" in case.text or ".extended." in case.text:
        return None
    failure = RecordedError(kind="ValueError", at=lines[0], after=v.untouched, message="")
    return CaseOutcome(error=failure)


def assigns_chain(case: Case) -> CaseOutcome | None:
    """Apply D6: an assign returns the variable, so a program can call assign_add on the result."""
    v = variable_of(case)
    found = re.search(r"v\.assign\((\[.*?\])\)\.assign_add\((\[.*?\])\)$", case.text)
    if v is None or found is None:
        return None
    if v.synchronization == "ON_READ" and v.aggregation in ("NONE", "SUM"):
        return None
    after = tensor(json.loads(found[1])) + tensor(json.loads(found[2]))
    return CaseOutcome(state=v.state([after] * v.world), returned={"type": "self"})


def wrong_lengths_are_refused(case: Case) -> CaseOutcome | None:
    """Apply D9: a PerReplica with another number of values cannot be written or passed."""
    made = re.search(r"x = ([aq])\.experimental_distribute_values_from_function", case.text)
    used = re.search(
        r"with ([aq])\.scope\(\): v\.assign\(x\)|([aq])\.run\(.*args=\(x,\)\)", case.text
    )
    if made is None or used is None or made[1] == (used[1] or used[2]):
        return None
    v = variable_of(case)
    return refused(case, None if v is None else v.untouched, "ValueError")


def others_are_refused(case: Case) -> CaseOutcome | None:
    """Apply D17: reduce and update refuse the variables and the values of another strategy."""
    if case.family != "mixing":
        return None
    if re.search(r'out = b\.(reduce\("MEAN", v, axis=None\)|extended\.update\(v, )', case.text):
        v = variable_of(case)
        return refused(case, None if v is None else v.untouched, "RuntimeError")
    of_four = "x = q.experimental_distribute_values_from_function" in case.text
    return refused(case, None, "ValueError") if of_four and "out = a.reduce(" in case.text else None


def slices_are_refused(case: Case) -> CaseOutcome | None:
    """Apply D12: an assign to a slice of a distributed variable is refused and changes nothing."""
    v = variable_of(case)
    return refused(case, v.untouched) if v is not None and "v[0:1].assign(" in case.text else None


def variables_convert_as_arrays(case: Case) -> CaseOutcome | None:
    """Apply D13: float, len and bool of a variable use its value in the same way as an array."""
    found = re.search(r"(float|len|bool)\(v\)$", case.text)
    created = re.search(r"v = tf\.Variable\((\[.*?\]|[\d.]+),", case.text)
    if found is None or created is None:
        return None
    v = variable_of(case)
    value: Array | None = tensor(json.loads(created[1]))
    state: dict[str, Json] = {"per_replica": [encoded(value)], "cross_read": encoded(value)}
    if v is not None:
        value = v.combined([v.value] * v.world)
        state = v.state([v.value] * v.world)
    if value is None:
        return refused(case, state["per_replica"], "ValueError")
    conversions: dict[str, Callable[[Any], Any]] = {"float": float, "len": len, "bool": bool}
    return CaseOutcome(state=state, returned=_python(conversions[found[1]](value)))


def different_values_are_refused(case: Case) -> CaseOutcome | None:
    """Apply D11: a value that depends on the worker cannot be written in cross-replica context."""
    created = re.search(r"v = tf\.Variable\(([\d.]+)", case.text)
    writes = re.search(r"with s\.scope\(\): v\.assign(_add)?\(10\.0 \+ i\)$", case.text)
    if created is None or writes is None or not case.is_multi_worker or case.world == 1:
        return None
    return refused(case, [float(created[1])], "ValueError")


def replica_ids_are_numbers(case: Case) -> CaseOutcome | None:
    """Apply D2: a replica id stays a Python number; TensorFlow returns a tensor."""
    if not re.search(r"out = s\.run\(lambda: ctx\(\)\.replica_id_in_sync_group\)", case.text):
        return None
    each = [{"type": "int", "value": i} for i in range(case.world)]
    returned = each[0] if case.world == 1 else {"type": "PerReplica", "values": each}
    return CaseOutcome(returned=returned)


def structures_are_gathered_from_all(case: Case) -> CaseOutcome | None:
    """Apply D4: a gather of a dict uses all replicas; TensorFlow uses only replica 0's dict."""
    program = r'x = \{"a": PR\((.*), "float32"\)\}\nout = s\.gather\(x, axis=0\)'
    found = re.search(program, case.text)
    if not found or not case.is_mirrored or case.world == 1:
        return None
    rows = [row for replica in json.loads(found[1]) for row in replica]
    return CaseOutcome(returned={"a": {"type": "Tensor", "dtype": "float32", "value": rows}})


def further_ops_reduce(case: Case) -> CaseOutcome | None:
    """Apply D15: `ReduceOp` has more members than SUM and MEAN, for example MAX."""
    found = re.search(r'all_reduce\("(max)", tf\.constant\(([\d.]+)\)\)', case.text)
    if found is not None:
        return CaseOutcome(returned=on_each(tensor(float(found[2])), case))
    program = r"x = PR\((\[.*?\]), '(\w+)'\)\nout = s\.reduce\(\"(max)\", x, axis=None"
    found = re.search(program, case.text)
    if found is None:
        return None
    return CaseOutcome(returned=described(np.array(json.loads(found[1]), found[2]).max(axis=0)))


RULES: list[tuple[str, Callable[[Case], CaseOutcome | None]]] = [
    ("D1", none_is_local_state),
    ("D2", each_contributes),
    ("D2", arguments_of_functions_contribute),
    ("D2", each_is_gathered),
    ("D2", one_replica_reduces_in_a_function),
    ("D2", numbers_are_reduced),
    ("D2", values_are_aggregated),
    ("D2", lists_are_shared_out),
    ("D2", replica_ids_are_numbers),
    ("D3", mixed_operations_are_refused),
    ("D4", a_failed_update_changes_nothing),
    ("D4", the_others_go_on),
    ("D4", structures_are_gathered_from_all),
    ("D5", a_refused_write_changes_nothing),
    ("D6", assigns_chain),
    ("D9", wrong_lengths_are_refused),
    ("D11", different_values_are_refused),
    ("D12", slices_are_refused),
    ("D13", variables_convert_as_arrays),
    ("D15", further_ops_reduce),
    ("D17", others_are_refused),
    ("D2", replica_ids_of_closures_are_numbers),
    ("D16", any_function_is_scheduled),
    ("D16", fails_on_a_worker),
]
"""Pairs of a rule and a function that gives the expected outcome. At most one function returns an
outcome for a program. `rules` applies D8 and D6 after these functions."""
