"""`varsim explain`: explain the modes, with worked numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varsim.report.explain_blocks import Block
    from varsim.spec import Synchronization, VariableAggregation

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
    from varsim.report import explain as content
    from varsim.report.explain_blocks import Paragraph
    from varsim.report.explain_layout import of_overview, of_page
    from varsim.texts.modes import ADAPTIVE

    if synchronization is None:
        return [*of_overview(content.overview(replicas)), Paragraph(f"{_policies()} {_HINT}")]
    word = "auto" if synchronization.lower() == ADAPTIVE else synchronization
    asked = _synchronization(word)
    aggregations = content.aggregations_of(asked)
    if aggregation is not None:
        aggregations = (_aggregation(aggregation),)
    return list(of_page(content.page(asked, aggregations, replicas)))


def _policies() -> str:
    """Return a sentence with the other synchronizations, and the packages that provide them."""
    from varsim.distribute.policies import POLICIES, synchronization_names
    from varsim.texts.modes import TENSORFLOW

    named = []
    forms = synchronization_names()[len(TENSORFLOW) :]
    for keyword, form in zip(sorted(POLICIES.names()), forms, strict=True):
        package = POLICIES.package_of(keyword)
        named.append(f"`{form}`" + (f" (of {package})" if package else ""))
    return f"Further: {', '.join(named)}."


_HINT = "More: `varsim explain on_read sum`, `varsim explain local_sgd:8`; --replicas N."


def _synchronization(word: str) -> Synchronization:
    from varsim.distribute.policies import parse_synchronization
    from varsim.errors import ConfigError
    from varsim.spec import VariableAggregation

    name = word.strip().lower().replace("-", "_")
    if name.upper() in VariableAggregation.__members__ and name.upper() != "NONE":
        raise WrongUse(
            f"{word!r} is an aggregation; give a synchronization before it: "
            f"varsim explain on_read {name}"
        )
    try:
        return parse_synchronization(word)
    except ConfigError as error:
        raise WrongUse(str(error)) from None


def _aggregation(word: str) -> VariableAggregation:
    from varsim.nearest import did_you_mean, listed
    from varsim.spec import VariableAggregation

    members = {member.name.lower(): member for member in VariableAggregation}
    name = word.strip().lower().replace("-", "_")
    if name not in members:
        near = did_you_mean(name, members) or f"; it is one of {listed(members)}"
        raise WrongUse(f"{word!r} is not an aggregation{near}")
    return members[name]
