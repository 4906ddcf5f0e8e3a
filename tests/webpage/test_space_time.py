"""The data of the space-time diagram: columns, messages, merges, families, and what is left out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.webpage.runs import CALLS, saved
from varsim.report.event_sentence import sentence_of
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, PROGRAM, Event, History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section
from varsim.webpage.space_time_events import OTHERS, SpaceTime, families, space_time_of
from varsim.webpage.space_time_section import space_time_section


@pytest.fixture(name="history", scope="module")
def _history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with open_history(saved(tmp_path_factory.mktemp("x") / "run")) as history:
        yield history


@pytest.fixture(name="events", scope="module")
def _events(history: History) -> list[Event]:
    return list(history.events())


@pytest.fixture(name="diagram", scope="module")
def _diagram(history: History) -> SpaceTime:
    return space_time_of(history, [], calls=None)


def section_of(diagram: SpaceTime) -> Section:
    record = ReportedRecord(part="", path="runs/x", summary=None, found=None, space_time=diagram)
    found = space_time_section(record)
    assert found is not None
    return found


def test_an_event_is_right_of_its_causes(diagram: SpaceTime, events: list[Event]):
    ranks = dict(zip(diagram.events, diagram.columns["rank"], strict=True))
    last: dict[int, int] = {}

    assert [one.event for one in events] == diagram.events
    for one in events:
        assert one.cause is None or ranks[one.cause] < ranks[one.event]
        assert last.get(one.process, -1) < ranks[one.event]
        last[one.process] = ranks[one.event]


def test_each_cause_is_a_message(diagram: SpaceTime, events: list[Event]):
    sent = [(events[one.sent].event, events[one.received].event) for one in diagram.messages]

    assert [(one.cause, one.event) for one in events if one.cause is not None] == sent


def test_a_message_has_the_variables_of_the_contributions_before_it(
    diagram: SpaceTime, events: list[Event]
):
    carried: Counter[tuple[str, ...]] = Counter()
    for one in diagram.messages:
        if events[one.received].kind == "receive":
            carried[tuple(diagram.variables[number] for number in one.variables)] += 1

    assert 2 * CALLS == carried["w",], "each replica contributes to w in each call"
    assert carried[()], "a replica returns"
    assert carried["n",], "the program has fetched the components"
    assert all("own" not in one or one == ("own",) for one in carried), "only the lens fetches it"


def test_a_merge_goes_from_the_writes_to_the_installs(diagram: SpaceTime, events: list[Event]):
    assert CALLS == len(diagram.merges)
    for band in diagram.merges:
        assert {PROGRAM, 0, 1} == band.began.keys() == band.ended.keys()
        assert ["w"] == [diagram.variables[number] for number in band.variables]
        kinds = {events[band.began[one]].kind for one in (0, 1)}
        ends = {events[band.ended[one]].kind for one in (0, 1)}
        assert ({"write"}, {"install"}) == (kinds, ends)
        assert "commit" == events[band.began[PROGRAM]].kind


def test_another_reduction_goes_from_the_arrivals_to_the_results(tmp_path: Path):
    def step() -> Any:
        context = tf.distribute.get_replica_context()
        assert context is not None
        return context.all_reduce(tf.distribute.ReduceOp.SUM, 1.0)

    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        strategy.run(step)
        strategy.close()
    merge(tmp_path, tmp_path / HISTORY)
    with open_history(tmp_path) as history:
        found = space_time_of(history, [], calls=None)
    kind = found.texts["kind"]
    kinds = [kind.texts[one] for one in kind.of]

    (band,) = found.merges
    assert ["answer", "arrive", "arrive"] == [kinds[band.began[one]] for one in (PROGRAM, 0, 1)]
    assert ["result", "return", "return"] == [kinds[band.ended[one]] for one in (PROGRAM, 0, 1)]


def test_the_script_can_write_the_sentence_on_each_event(
    diagram: SpaceTime, events: list[Event], history: History
):
    """The script replaces the fields of a template as `str.format` does."""
    texts = section_of(diagram).content["data"]["texts"]

    for place, event in enumerate(events):
        told = {name: it["texts"][it["of"][place]] for name, it in texts.items()}
        assert sentence_of(history, event) == told["sentence"].format(
            **{name: told[name] for name in ("value", "version", "call")}
        )
    assert len(texts["sentence"]["texts"]) < len(events), "similar events share a template"


def test_the_section_names_places_that_exist(diagram: SpaceTime):
    data = section_of(diagram).content["data"]
    count = len(diagram.events)

    assert json.loads(json.dumps(data, allow_nan=False))["columns"] == data["columns"]
    assert {count} == {len(one) for one in data["columns"].values()}
    assert {count} == {len(one["of"]) for one in data["texts"].values()}
    assert max(data["columns"]["process"]) == len(data["processes"]) - 1
    assert max(data["columns"]["variable"]) == len(data["variables"]) - 1
    assert len(data["variables"]) == len(data["familyOf"])
    assert {name for name, _ in data["labels"]} <= data["texts"].keys()


def test_a_process_has_the_name_of_its_host(diagram: SpaceTime):
    elsewhere = replace(diagram, hosts=["" if one < 1 else "b" for one in diagram.processes])
    expected = ["program", "replica 0", "replica 1 on b"]
    assert expected == section_of(elsewhere).content["processes"][:3]


def test_calls_that_do_not_fit_are_left_out_and_named(history: History, diagram: SpaceTime):
    whole = len(diagram.events)
    assert not section_of(diagram).content["left_out"]

    first = space_time_of(history, [], calls=None, most=whole // 2)
    last = first.calls[1] if first.calls else 0
    assert (0, whole) == (first.before, len(first.events) + first.after)
    assert 1 < last < CALLS
    assert (
        f"Not the whole record: calls 1 to {last} of {CALLS} (events 1 to {len(first.events)} of "
        f"{whole} are drawn). `varsim report runs/x --calls {last + 1}:"
        in section_of(first).content["left_out"]
    )


def test_a_marked_event_is_shown_with_the_call_before_it(history: History, diagram: SpaceTime):
    whole = len(diagram.events)
    found = space_time_of(history, [whole - 2], calls=None, most=whole // 2)

    assert whole - 2 in found.events
    assert found.before > 0


def test_a_window_has_only_its_calls(history: History):
    found = space_time_of(history, [], calls=(2, 4))

    assert (2, 3) == found.calls
    kinds = zip(found.texts["kind"].of, found.texts["call"].of, strict=True)
    calls = {
        found.texts["call"].texts[call]
        for kind, call in kinds
        if "call" == found.texts["kind"].texts[kind]
    }
    assert {"2", "3"} == calls
    assert not space_time_of(history, [], calls=(100, 200)).events


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [
        (["a/x", "a/y"], 2, ["a/x", "a/y"]),
        (["a/x", "a/y", "b/x", "b"], 2, ["a", "a", "b", "b"]),
        (["a/1/x", "a/1/y", "a/2/x", "b"], 3, ["a/1", "a/1", "a/2", "b"]),
        (["a.x", "a.y", "b_z", "b_v", "c", "d"], 3, ["a", "a", "b", "b", OTHERS, OTHERS]),
        (["_x", "_x"], 1, ["_x", "_x"]),
    ],
)
def test_many_variables_share_the_colours_of_families(
    names: list[str], most: int, expected: list[str]
):
    assert expected == families(names, most)


def test_texts_of_a_program_are_no_fields_of_the_sentence(history: History, events: list[Event]):
    odd: Any = next(one for one in events if one.kind == "write")
    odd = odd._replace(location="{value}.py:1")

    assert re.search(r"at \{value\}\.py:1", sentence_of(history, odd))
