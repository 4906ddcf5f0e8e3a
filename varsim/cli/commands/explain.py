"""`varsim explain`: explain the modes, with worked numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsim.report.explain_layout import Block
    from varsim.spec import Synchronization

MAX_REPLICAS: Final = 64
"""Largest number of replicas. Examples with more replicas would show nothing new."""


@click.command(short_help="Explain the modes, with worked numbers.")
@click.argument("synchronization", required=False, shell_complete=completion.setting_names)
@click.argument("aggregation", required=False, shell_complete=completion.setting_names)
@click.option(
    "-n",
    "--replicas",
    type=click.IntRange(1, MAX_REPLICAS),
    default=2,
    show_default=True,
    metavar="N",
    help="Number of replicas in the examples.",
)
def explain(synchronization: str | None, aggregation: str | None, *, replicas: int) -> None:
    """Explain what a variable does in each context, with worked numbers.

    The page says what every operation changes, what a read returns, how many messages each
    operation costs, which errors can occur and how to fix them, and where TensorFlow differs.

    \b
    varsim explain
    varsim explain on_read
    varsim explain on_read sum --replicas 4
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.report.explain_text import print_blocks

    print_blocks(_blocks(synchronization, aggregation, replicas), sys.stdout)


def _blocks(synchronization: str | None, aggregation: str | None, replicas: int) -> Sequence[Block]:
    from varsim.distribute.policies import BUILT_IN
    from varsim.experiments.mode_text import ADAPTIVE
    from varsim.report import explain as content
    from varsim.report.explain_layout import Paragraph, of_overview, of_page
    from varsim.spec import VariableAggregation, VariableSynchronization

    if synchronization is None:
        return [*of_overview(content.overview(replicas)), Paragraph(_HINT)]
    asked: Synchronization
    if ":" in synchronization or synchronization in BUILT_IN:
        asked = _custom(synchronization)
    else:
        word = "auto" if synchronization.lower() == ADAPTIVE else synchronization
        asked = _member(VariableSynchronization, "synchronization", word)
    aggregations = content.aggregations_of(asked)
    if aggregation is not None:
        aggregations = (_member(VariableAggregation, "aggregation", aggregation),)
    return list(of_page(content.page(asked, aggregations, replicas)))


_HINT = "More: `varsim explain on_read sum`, `varsim explain local_sgd:8`; --replicas N."


def _custom(name: str) -> Synchronization:
    """Return the synchronization of a policy that TensorFlow does not have."""
    from varsim.distribute.policies import parse_synchronization
    from varsim.errors import ConfigError

    try:
        return parse_synchronization(name)
    except ConfigError as error:
        raise WrongUse(str(error)) from None


def _member(settings: Any, what: str, word: str) -> Any:
    from varsim.nearest import did_you_mean, listed
    from varsim.spec import VariableAggregation

    members = {member.name.lower(): member for member in settings}
    name = word.strip().lower().replace("-", "_")
    if name not in members:
        if what == "synchronization" and name.upper() in VariableAggregation.__members__:
            raise WrongUse(
                f"{word!r} is an aggregation; give a synchronization before it: "
                f"varsim explain on_read {name}"
            )
        near = did_you_mean(name, members) or f"; it is one of {listed(members)}"
        raise WrongUse(f"{word!r} is not {'an' if what[0] in 'aeiou' else 'a'} {what}{near}")
    return members[name]
