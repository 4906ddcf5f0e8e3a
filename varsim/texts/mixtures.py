"""Texts about two strategies that are mixed: an object of one is used under the other."""

from __future__ import annotations

from typing import Final

from varsim.texts.facts import Fact
from varsim.value_class import value_class

OF_VARIABLE: Final = (
    "Read it before, and give its value as an argument; or create it in the scope of the strategy "
    "that uses it."
)
OF_SCRIPT: Final = (
    "All workers run the script as one call of a strategy of varsim. Use "
    "tf.distribute.MultiWorkerMirroredStrategy(), or run the script without --spmd."
)
OF_CALL: Final = "Do this before or after the code of the other strategy."


@value_class
class Mixture(Fact):
    """An object of one strategy is used under another strategy."""

    what: str  # "variable 'w' (train.py:3)", "strategy.run"
    owner: str  # the strategy of the object, such as "MirroredStrategy(['cpu:0', 'cpu:1'])"
    current: str  # the strategy under which the object is used
    where: str  # "a call", "the scope"
    remedy: str

    def __str__(self) -> str:
        another = f"another {self.current}" if self.current == self.owner else self.current
        return (
            f"{self.what} of {self.owner} is used in {self.where} of {another}: two strategies "
            f"cannot be mixed. {self.remedy}"
        )
