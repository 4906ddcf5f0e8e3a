"""The command `varsim explain`: its arguments, and its errors for wrong arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from varsim.cli.commands.completion import VARIABLE
from varsim.cli.main import main

SYNCHRONIZATIONS = (
    "  synchronizations: auto, none, on_write, on_read, bounded_staleness:S, central, "
    "compressed:INNER:BY, local_sgd:K"
)
"""All names, in an installation without policies of other packages."""


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments])


def test_without_arguments_all_modes_are_shown():
    result = explain()

    assert 0 == result.exit_code
    assert 25 >= len(result.stdout.splitlines())
    assert "ON_WRITE  NONE                components diverge" in result.stdout
    assert "varsim explain on_read sum" in " ".join(result.stdout.split())
    assert "Further: bounded_staleness:S, central, compressed:INNER:BY" in result.stdout


def test_a_policy_of_an_installed_package_is_listed_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "acme_policies-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policies\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[varsim.policies]\nacme = varsim.sync.policies.local_sgd:LocalSGD\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert "(of acme-policies 1.0)" in " ".join(explain().stdout.split())


def test_a_synchronization_without_an_aggregation_shows_all_its_aggregations():
    result = explain("on_read")

    assert 0 == result.exit_code
    for name in ("NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA"):
        assert f"read        {name} " in result.stdout


@pytest.mark.parametrize(
    "words", [("on_read", "only_first_replica"), ("On-Read", "ONLY-FIRST_REPLICA")]
)
def test_names_may_be_written_in_any_case_and_with_hyphens(words: tuple[str, str]):
    result = explain(*words)

    assert 0 == result.exit_code
    assert "ON_READ + ONLY_FIRST_REPLICA" == result.stdout.splitlines()[0]


def test_the_number_of_replicas_can_be_set():
    assert "variable on 2 replicas;" in explain("on_read", "sum").stdout
    five = " ".join(explain("on_read", "sum", "-n", "5").stdout.split())

    assert "assign_add 11 12 … 15 65 0 10" in five
    assert "variable on 1 replica;" in explain("on_read", "sum", "--replicas", "1").stdout


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_an_impossible_number_of_replicas_is_an_error(count: str):
    result = explain("--replicas", count)

    assert 2 == result.exit_code
    assert "--replicas" in result.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["on_raed"],
            f"'on_raed' is not a synchronization; did you mean 'on_read'?\n{SYNCHRONIZATIONS}",
        ),
        (
            ["parameter_server"],
            f"'parameter_server' is not a synchronization\n{SYNCHRONIZATIONS}",
        ),
        (
            ["mean"],
            "'mean' is an aggregation; give a synchronization before it: "
            "varsim explain on_read mean",
        ),
        (["on_read:3"], "'on_read' takes no parameters: 'on_read:3'"),
        (["on_read", "men"], "'men' is not an aggregation; did you mean 'mean'?"),
        (
            ["on_read", "x"],
            "'x' is not an aggregation; it is one of none, sum, mean, only_first_replica",
        ),
    ],
)
def test_the_error_for_a_wrong_word_has_the_nearest_word(words: list[str], expected: str):
    result = explain(*words)

    assert 2 == result.exit_code
    assert f"Error: {expected}\n" == result.stderr
    assert "" == result.stdout


def test_output_to_a_pipe_is_plain_text_of_80_columns():
    said = explain("none", "-n", "64").stdout

    assert "\x1b" not in said
    assert 80 >= max(map(len, said.splitlines()))
    assert [] == [line for line in said.splitlines() if line != line.rstrip()]


def test_synchronizations_and_aggregations_are_completed():
    shell = ShellComplete(main, {}, "varsim", VARIABLE)

    def completed(*words: str, incomplete: str) -> list[str]:
        return [one.value for one in shell.get_completions(list(words), incomplete)]

    assert ["on_write", "on_read"] == completed("explain", incomplete="ON-")
    assert ["local_sgd:"] == completed("explain", incomplete="loc")
    assert ["sum"] == completed("explain", "on_read", incomplete="s")


def test_adaptive_is_explained_by_the_page_of_auto():
    assert explain("auto").stdout == explain("adaptive").stdout
