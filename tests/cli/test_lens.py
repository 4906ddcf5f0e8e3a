"""The command `varsim lens`: its errors, and its JSON output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.analysis.test_lens import LensHistory
from tests.tracing.host_clusters import merged
from varsim.cli.main import main
from varsim.tracing.host_traffic import Moved


def lens(*words: str) -> Result:
    return CliRunner().invoke(main, ["lens", *words])


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    story = LensHistory("ON_READ", "SUM")
    story.step(1, (1, 0), (2, 4))
    with story.history(tmp_path):
        pass


def test_an_element_of_an_array_can_be_selected():
    result = lens(".", "v", "--at", "1")

    assert 0 == result.exit_code
    row = result.output.splitlines()[4].split()
    assert ["1", "0", "4", "4"] == row
    assert "Each replica has a part of the value, which is the SUM of all parts." in result.output


def test_json_has_all_elements():
    steps = json.loads(lens(".", "v", "--json").stdout)

    assert [[0, 0], [1, 0]] == [step["components"][0] for step in steps]
    assert [False, True] == [step["diverged"] for step in steps]


def test_replicas_on_several_hosts_have_their_hosts_and_devices(tmp_path: Path):
    with merged(tmp_path / "hosts", [Moved(1, 1)] * 2):
        pass
    result = lens("hosts", "v")

    assert "Hosts: replica 0 on a (cpu:0); replica 1 on b (cpu:1).\n" in result.output
    assert "Hosts:" not in lens(".", "v").output
    (*_, last) = json.loads(lens("hosts", "v", "--json").stdout)
    assert (["a", "b"], ["cpu:0", "cpu:1"]) == (last["hosts"], last["devices"])
    assert [] == json.loads(lens(".", "v", "--json").stdout)[0]["hosts"]


def test_json_is_standard_json_if_a_value_is_not_finite(tmp_path: Path):
    story = LensHistory("ON_READ", "SUM")
    story.step(1, (float("nan"), float("-inf")), (2, 4))
    with story.history(tmp_path):
        pass

    output = lens(".", "v", "--json").stdout
    (*_, step) = json.loads(output, parse_constant=pytest.fail)
    assert ["NaN", "-Infinity"] == step["components"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((".", "w"), "there is no variable 'w'"),
        (("elsewhere", "v"), "there is no run 'elsewhere'"),
        ((".", "v", "--at", "2"), "--at 2: v has the shape [2]"),
        ((".", "v", "--at", "0,0"), "--at 0,0: v has the shape [2]"),
        ((".", "v", "--at", "x"), "--at 'x': give whole numbers"),
    ],
)
def test_unknown_names_and_indices_are_refused(words: tuple[str, ...], said: str):
    result = lens(*words)

    assert 2 == result.exit_code
    assert said in result.output


def test_without_a_variable_the_most_informative_one_is_shown(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(tmp_path)
    said = " ".join(lens().output.split())

    assert said.startswith("No variable was named. v is shown: its replicas differ by up to ")
    assert "v (ON_READ, SUM): element [1] of [2]" in said
    assert "Element [1] is shown: replicas are furthest apart in it, by 4. The next elem" in said
    assert "v (ON_READ, SUM): mean of its elements" in lens("latest", "v", "--at", "mean").output
