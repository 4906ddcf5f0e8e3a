"""The texts of a comparison with a single device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import escape
from itertools import chain
from shlex import quote
from typing import Final

import numpy as np

from varsim.analysis.findings.compared import (
    Approximate,
    CollectiveDifference,
    Compared,
    Quotient,
    Uncompared,
    ValueDifference,
)
from varsim.analysis.returned import ReturnedValue
from varsim.report.difference_text import (
    LIKELIEST_FIRST,
    difference_text,
    meaning_of,
    number_text,
    remedies_of,
    remedies_of_collective,
    source_of,
)
from varsim.report.formatting import count, names, visible, wrapped
from varsim.report.terminal import WIDTH
from varsim.texts.facts import element_text, share, times

_SPLIT: Final = (
    "To make them comparable, give the program a global batch, and split it by "
    "strategy.num_replicas_in_sync."
)

_METHODS: Final = {
    "run": "strategy.run",
    "reduce": "strategy.reduce",
    "gather": "strategy.gather",
}
"""The methods of a strategy whose results are compared, as programs call them."""

MOST: Final = 5
"""Largest number of listed locations; a last line gives the number of the locations left out."""

_UNKNOWN: Final = (
    "varsim cannot tell whether that is a mistake: different random numbers, different batches "
    "and rounding over many steps cause such differences, too."
)

_CAUSED: Final = (
    "The findings below may be the reason: correct these first, and compare again. Different "
    "random numbers, different batches and rounding over many steps cause differences, too."
)


_COPIES: Final = (
    "of {}, only reads and writes of the program are compared: inside strategy.run, replicas may "
    "read older values, as the policy allows, and no rule says how large a difference this can "
    "cause"
)


def in_short(compared: Compared) -> str:
    """Return the comparison in brief: how many values, how many differ, the first difference."""
    said = f"{_of_variables(compared)}{_left_out(compared)}{_not_comparable(compared)}"
    differ = [one for one in compared.returned if one.differs]
    if not differ:
        return said
    return f"{said}; returned by the program: {_of_returned(differ[0])}{_and_more(len(differ))}"


def _not_comparable(compared: Compared) -> str:
    """Return why factors were not checked, in brief; "" if they were checked."""
    if compared.approximate and not compared.not_comparable:
        return f"; {approximate_text(compared)}"
    if not compared.not_comparable:
        return ""
    return f"; oracle not comparable because {compared.not_comparable}; factors were not checked"


def _of_variables(compared: Compared) -> str:
    if not compared.values:
        return "no value of a variable could be compared with a single device"
    said = f"{_counted(compared)} compared with a single device"
    if not compared.differences:
        return f"{said}, and none differs"
    if not compared.unexplained:
        return f"{said}; {_by(compared)} explain {_all(_differing(compared))}"
    first = (compared.leading or compared.unexplained)[0]
    return f"{said}, {_explained(compared)}; first: {difference_text(first)}"


def _all(number: int) -> str:
    return "the only difference" if number == 1 else f"all {times(number, 'difference')}"


def _and_more(number: int) -> str:
    return f", and {count(number - 1)} more" if number > 1 else ""


def compared_text(
    compared: Compared, width: int = WIDTH, most: int | None = MOST, *, caused: bool = False
) -> list[str]:
    """Return the lines on a comparison with a single device.

    Args:
        most: The number of locations to list; None lists all.
        caused: Whether there is a finding about values, whose cause may explain the differences.
    """
    lines = [*_wrapped(f"compared with a single device: {_summed(compared)}", width, "")]
    lines += _unexplained(compared, width, most)
    lines += _of_collectives(compared.collectives, width, most)
    lines += _remedies(compared, width, most)
    lines += _returned(compared.returned, width, most)
    for quotient in compared.quotients:
        lines += _wrapped(_of_quotient(quotient), width, "  ")
    if compared.approximate:
        said = approximate_text(compared)
        lines += _wrapped(f"{said[0].upper()}{said[1:]}.", width, "  ")
    if compared.not_comparable:
        said = f"oracle not comparable because {compared.not_comparable}; factors were not checked."
        lines += _wrapped(f"{said} {_SPLIT}", width, "  ")
    said, unclear = scaled_text(compared), _is_unclear(compared)
    if said:
        lines += _wrapped(said, width, "  ")
    if compared.differs and unclear and not compared.is_approximate:
        lines += _wrapped(_CAUSED if caused else _UNKNOWN, width, "  ")
        if began := _began(compared):
            lines += _wrapped(began, width, "  ")
    lines += _uncompared(compared.uncompared, width, most)
    if compared.own:
        own = (
            f"not compared, because each replica has its own value by design: {names(compared.own)}"
        )
        lines += _wrapped(own, width, "  ")
    if compared.copies:
        lines += _wrapped(_COPIES.format(names(compared.copies)), width, "  ")
    return lines


def approximate_text(compared: Compared) -> str:
    """Return a clause on the variables that differ because their modes are approximate."""
    by_mode: dict[str, list[Approximate]] = {}
    for one in compared.approximate:
        by_mode.setdefault(one.mode, []).append(one)
    said = [_of_mode(mode, some) for mode, some in by_mode.items()]
    who = names([one.variable for one in compared.approximate])
    sources = list(dict.fromkeys(one.source for one in compared.approximate))
    more = "" if len(sources) <= _MOST_MODES else f". {_NAME_EACH}"
    return (
        f"{'; '.join(said)}. Factors were not checked for {who}, unless a finding names it: a run "
        f"with ON_WRITE (`--mode {_on_write(sources)} --oracle`) checks them, and other values "
        f"that follow{more}"
    )


_MOST_MODES: Final = 5
"""Largest number of variables that a value of `--mode` names."""

_NAME_EACH: Final = (
    "Name there each of these variables for which the program itself asks for a synchronization: "
    "a mode without a name does not apply to it"
)


def _on_write(variables: Sequence[str]) -> str:
    """Return the value of `--mode` with which variables are ON_WRITE, as a shell reads it.

    It names the variables, whether or not the program asks for a synchronization. Of many, it names
    only one, and gives the mode to all for which the program does not.
    """
    many = len(variables) > _MOST_MODES
    patterns = (escape(one).replace(",", "?") if "," in one else one for one in variables)
    named = [f"{one}=on_write" for one in patterns]
    return quote(",".join(["on_write", named[0]] if many else named))


def _of_mode(mode: str, some: Sequence[Approximate]) -> str:
    by = ", ".join(
        f"{one.variable}{' (which follows from it)' * one.follows} by up to {_percent(one.largest)}"
        for one in some
    )
    why = "replicas train their copies apart" if some[0].apart else "the mode is approximate"
    return f"because of {mode}, values differ: {why}. Relative to its largest element, {by}"


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %" if np.isfinite(part) else "infinity"


def scaled_text(compared: Compared) -> str:
    """Return sentences on returned values with the factor N or 1/N; "" if there are none."""
    of_factor: dict[str, list[str]] = {}
    for name, factor in compared.scaled_results:
        of_factor.setdefault(factor, []).append(name)
    if not of_factor:
        return ""
    said = "; ".join(
        f"{names(some)} {'is' if len(some) == 1 else 'are each'} exactly {factor} times that of the"
        " single device"
        for factor, some in of_factor.items()
    )
    return (
        f"{said}, and every compared variable is right: the program computes it with the number of "
        "replicas, for example by a division by the examples of one replica. Divide by all "
        "examples; or it is meant, as for a number of rows per replica."
    )


def _is_unclear(compared: Compared) -> bool:
    """Return whether anything differs besides returned values with a factor."""
    scaled = {name for name, _ in compared.scaled_results}
    others = tuple(one for one in compared.returned if one.name not in scaled)
    return replace(compared, returned=others).differs


def _unexplained(compared: Compared, width: int, most: int | None) -> Iterator[str]:
    """Yield the lines on the differences of variables, with what they mean.

    A difference that follows from another one is counted; it is listed if all are.
    """
    leading = compared.leading
    listed = leading if most is not None else compared.unexplained
    for index, one in enumerate(listed[:most]):
        first = "first: " if index == 0 and len(listed) > 1 else ""
        yield from _item(f"{first}{difference_text(one)}{_often(one)} (event {one.event})", width)
    yield from _more(len(listed), most, "locations", width)
    following = [one for one in compared.unexplained if one not in leading]
    if most is not None:
        yield from _following(following, width)
    meanings = (meaning_of(one, compared) for one in _exact(compared)[:most])
    for said in dict.fromkeys(filter(None, meanings)):
        yield from _wrapped(said, width, "  ")


def _exact(compared: Compared) -> list[ValueDifference]:
    """Return the leading differences that no approximate mode explains."""
    known = {one.variable_id for one in compared.approximate}
    return [one for one in compared.leading if one.variable_id not in known]


def _following(following: Sequence[ValueDifference], width: int) -> Iterator[str]:
    """Yield a line for each variable from which differences follow."""
    by_source: dict[tuple[str, bool], list[ValueDifference]] = {}
    for one in following:
        by_source.setdefault((source_of(one), bool(one.follows)), []).append(one)
    for (source, has_finding), some in by_source.items():
        who = names(list(dict.fromkeys(one.variable for one in some)))
        places = times(len(some), "location")
        if who == source or not source:
            why = "a finding below is about it" if has_finding else "after an earlier difference"
            first = source or who
        else:
            what = (
                "about which there is a finding below" if has_finding else "which differed before"
            )
            why, first = f"the writers had read {source}, {what}", source
        differ = "differs" if len(some) == 1 else "differ"
        yield from _item(
            f"{who} {differ} at {places}, probably because {why}. Correct {first} first (--all "
            "shows the values)",
            width,
        )


def _remedies(compared: Compared, width: int, most: int | None) -> Iterator[str]:
    """Yield what to do about the listed differences, each text once."""
    found = (
        *map(remedies_of, _exact(compared)[:most]),
        *map(remedies_of_collective, compared.collectives[:most]),
    )
    texts = list(dict.fromkeys(chain.from_iterable(found)))
    if texts:
        yield from _wrapped(LIKELIEST_FIRST, width, "  ")
    for said in texts:
        yield from _item(said, width)


def _began(compared: Compared) -> str:
    """Return which variable differed first, and which may have differed earlier."""
    said = []
    began = [one.began for one in compared.differences]
    several = len({one.variable_id for one in (*compared.differences, *began)}) > 1
    if several and not compared.differences[0].follows:
        said.append(f"Of the compared variables, {began[0].variable} differed first.")
    known = {one.variable for one in began}
    lacking = [
        one.variable for one in compared.uncompared if not (one.partly or one.variable in known)
    ]
    if lacking and compared.differences:
        who = names(lacking)
        said.append(f"{who} could not be compared, and may have differed earlier.")
    return " ".join(said)


def _of_collectives(
    collectives: Sequence[CollectiveDifference], width: int, most: int | None
) -> Iterator[str]:
    """Yield the lines on the results of collectives."""
    if not collectives:
        return
    results = times(sum(one.compared for one in collectives), "value")
    differ = [one for one in collectives if one.count]
    plain = ", variables outside the scope" if any(one.variable for one in collectives) else ""
    how_many = f"{count(sum(one.count for one in differ))} of them different"
    how_many = how_many if differ else "and none differs"
    said = f"results of collectives and calls{plain}: {results}, {how_many}"
    yield from _wrapped(said, width, "  ")
    for one in differ[:most]:
        element = "" if one.element is None else f" ({element_text(one.element)})"
        often = f"; {share(one.count, one.compared, 'value', _DIFFER)} there"
        method = _METHODS.get(one.operation, one.operation)
        if one.variable:
            method = f"value of {one.variable}, created outside the scope"
        by = f" ({one.reduction})" if one.reduction else ""
        yield from _item(
            f"{method}{by} at {one.location}{element}, in step {one.step}: {number_text(one.got)} "
            f"instead of {number_text(one.wanted)}{often} (event {one.event})",
            width,
        )
    yield from _more(len(differ), most, "lines", width)
    if any(one.reduction != "MEAN" and not one.variable for one in differ):
        yield from _wrapped(
            "Such a result may be meant: for example, a sum that the program divides later.",
            width,
            "  ",
        )


def _returned(returned: Sequence[ReturnedValue], width: int, most: int | None) -> Iterator[str]:
    """Yield the lines on returned values that differ or could not be compared."""
    differ = [one for one in returned if one.differs]
    compared = sum(not one.why for one in returned)
    if compared:
        how_many = f"{count(len(differ))} of them different" if differ else "and none differs"
        said = f"returned by the program: {times(compared, 'value')}, {how_many}"
        yield from _wrapped(said, width, "  ")
    for one in differ[:most]:
        yield from _item(_of_returned(one), width)
    yield from _more(len(differ), most, "of these", width)
    for one in returned:
        if one.why:
            yield from _item(f"{one.name} could not be compared: {one.why}", width)


def _of_returned(one: ReturnedValue) -> str:
    which = "" if one.element is None else f" ({element_text(one.element)})"
    which = which if one.replica is None else f" (of replica {one.replica})"
    why = f" (see the finding about {one.follows})" if one.follows else ""
    return f"{one.name}{which}: {number_text(one.got)} instead of {number_text(one.wanted)}{why}"


_DIFFER: Final = ("differs", "differ")


def _counted(compared: Compared) -> str:
    return f"{times(compared.values, 'value')} at {times(compared.locations, 'location')}"


def _summed(compared: Compared) -> str:
    if not compared.values:
        return "no value of a variable could be compared"
    if not compared.differences:
        return f"{_counted(compared)}, and none differs"
    return f"{_counted(compared)}, {_explained(compared)}"


def _explained(compared: Compared) -> str:
    """Return how many values differ, and how many of these differences findings explain."""
    differ = _differing(compared)
    left = sum(one.unexplained for one in compared.differences)
    said = f"{count(differ)} of them different"
    if not left:
        return f"{said}, {'all ' * (differ > 1)}explained by {_by(compared)}"
    if compared.is_approximate:
        some = "" if left == differ else f": {count(differ - left)} explained by {_by(compared)}"
        modes = names(list(dict.fromkeys(one.mode for one in compared.approximate)))
        return f"{said}{some}{', the others' * bool(some)} because of {modes}"
    if left == differ and all(one.follows for one in compared.unexplained):
        return f"{said}, probably because of findings"
    if left == differ:
        return f"{said}; no rule explains this"
    explained = f"{count(differ - left)} explained by {_by(compared)}"
    return f"{said}: {explained}, {count(left)} not explained"


def _of_quotient(quotient: Quotient) -> str:
    said = f"{quotient.factor} times the single device's"
    if quotient.returned:
        return (
            f"{names(quotient.variables)} is {said} ({quotient.location}), but the program "
            f"returned the single device's value, {quotient.returned}: it divides what it reads, "
            "so this is no finding."
        )
    return (
        f"{names(quotient.variables)} are each {said}, and are read together "
        f"({quotient.location}): the factor cancels in a quotient, so this is no finding."
    )


def _by(compared: Compared) -> str:
    """Return what explains differences."""
    if not compared.quotients:
        return "findings"
    of_quotients = {number for one in compared.quotients for number in one.variable_ids}
    explained = {one.variable_id for one in compared.differences if one.explained}
    return "quotients" if explained <= of_quotients else "findings and quotients"


def _differing(compared: Compared) -> int:
    return sum(one.count for one in compared.differences)


def _often(one: ValueDifference) -> str:
    if one.compared == 1:
        return ""
    explained = f", {count(one.explained)} of them explained by findings" if one.explained else ""
    return f"; {share(one.count, one.compared, 'value', _DIFFER)} there{explained}"


def _left_out(compared: Compared) -> str:
    """Return a text on the variables that could not be compared; "" if all were compared."""
    lacking = [one for one in compared.uncompared if not one.partly]
    if not lacking:
        return ""
    return f" ({names(_who(lacking))} could not be compared)"


def _who(uncompared: Sequence[Uncompared]) -> list[str]:
    return [
        f"{one.variable} at {one.location}" if one.location else one.variable for one in uncompared
    ]


def _uncompared(uncompared: Sequence[Uncompared], width: int, most: int | None) -> Iterator[str]:
    if not uncompared:
        return
    yield "  could not be compared:"
    for one, who in zip(uncompared[:most], _who(uncompared), strict=False):
        yield from _item(f"{who}: {one.why}", width)
    yield from _more(len(uncompared), most, "of these", width)


def _more(number: int, most: int | None, what: str, width: int) -> list[str]:
    left = number - (number if most is None else most)
    return _item(f"and {count(left)} more {what} (--all shows them)", width) if left > 0 else []


def _item(text: str, width: int) -> list[str]:
    return _wrapped(text, width, "  - ", "    ")


def _wrapped(text: str, width: int, first: str, indent: str = "  ") -> list[str]:
    begin = " " * (len(first) - len(first.lstrip()))
    return wrapped(f"{first}{visible(text)}", width, indent[len(begin) :])
