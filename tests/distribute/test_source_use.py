"""Whether a program uses an object outside the functions of its replicas, by its source."""

from __future__ import annotations

import linecache
from types import CodeType

import pytest

from varsim.distribute.source_use import may_be_used_outside

CLASS = """
class Momentum:
    def __init__(self):
        self.steps, self.kept = 0, {}
    def add(self, me):
        self.steps += 1
        self.kept[me] = self.steps
    def show(self):
        print(self.steps)
"""


def used(name: str, body: str, after: str, *, run: str = "strategy.run(step)") -> bool:
    """Return whether a program uses an object that its function `step` changes."""
    text = f"{CLASS}\nlosses, momentum = [], Momentum()\ndef step():\n    {body}\n{run}\n{after}\n"
    name_of_file = f"program-{hash(text)}.py"
    lines = text.splitlines(keepends=True)
    linecache.cache[name_of_file] = len(text), None, lines, name_of_file
    whole = compile(text, name_of_file, "exec")
    step = next(one for one in whole.co_consts if getattr(one, "co_name", "") == "step")
    return may_be_used_outside(name, step, {step})


@pytest.mark.parametrize(
    "after", ["print(losses)", "losses.clear()", "x = [one for one in losses]"]
)
def test_an_object_that_the_program_loads_is_used(after: str) -> None:
    assert used("losses", "losses.append(1)", after)
    assert used("losses[0]", "losses[0] += 1", after)


@pytest.mark.parametrize("after", ["", "losses = []", "Momentum(losses)"])
def test_an_object_that_only_replicas_load_is_not_used(after: str) -> None:
    assert not used("losses", "losses.append(1)", after)
    assert not used("losses", "losses.append(1)", after, run="strategy.run(step, args=(losses,))")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("print(momentum.steps)", True),
        ("momentum.show()", True),
        ("print(momentum)", True),
        ("print(momentum.kept)", False),
        ("momentum.steps = 0", False),
        ("Momentum(momentum)", False),
    ],
)
def test_an_attribute_is_used_if_the_program_or_a_method_that_it_calls_loads_it(
    after: str, expected: bool
) -> None:
    assert expected is used("momentum.steps", "momentum.add(0)", after)


def test_in_doubt_an_object_is_used() -> None:
    """The program is in another file, or the function has it as an argument."""
    assert used("losses", "losses.append(1)", "", run="")
    code = compile("def step(losses): losses.append(1)", "<no source>", "exec").co_consts[0]
    assert isinstance(code, CodeType)
    assert may_be_used_outside("losses", code, {code})
