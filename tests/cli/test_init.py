"""The command `varsim init`: it writes a lesson, and never replaces a file."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.experiments.lessons import find_lesson, lessons
from varsim.experiments.loading import load_experiment


def init(*words: str) -> Result:
    return CliRunner().invoke(main, ["init", *words])


def test_the_lessons_are_numbered_and_listed() -> None:
    said = init("--lessons")

    assert [*range(1, len(lessons()) + 1)] == [one.number for one in lessons()]
    assert 0 == said.exit_code
    for lesson in lessons():
        assert f"{lesson.number}. {lesson.title}" in said.output


@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.name)
def test_a_lesson_is_put_into_a_folder(lesson, tmp_path: Path) -> None:
    """Each lesson has a text, a picture, and an experiment that is valid there."""
    there = tmp_path / "new" / "folder"

    said = init("--lesson", lesson.name, str(there))

    assert 0 == said.exit_code, said.output
    names = {path.name for path in there.iterdir()}
    assert {"README.md", lesson.experiment, "expected.svg"} <= names
    assert names == {path.name for path in lesson.files}
    assert lesson.name == load_experiment(there / lesson.experiment).name


def test_lessons_without_a_folder_are_put_into_folders_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a README.md in the current folder, as in a checkout, and other lessons do no harm."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")

    for one in ("copies", "modes"):
        said = init("--lesson", one)
        assert 0 == said.exit_code, said.output
        assert f"Read {one}/README.md first, and run its commands in {one}/." in said.output
        assert (tmp_path / one / f"{one}.yaml").exists()


@pytest.mark.parametrize("lesson", lessons(), ids=lambda one: one.name)
def test_a_written_text_has_no_comments(lesson, tmp_path: Path) -> None:
    """The comments in the text tell docs/transcripts.py what to show."""
    init("--lesson", lesson.name, str(tmp_path))

    written = (tmp_path / "README.md").read_text("utf-8")
    assert "<!--" in lesson.files[0].read_text("utf-8")
    assert "<!--" not in written
    assert f"$ varsim init --lesson {lesson.name}\n" in written


@pytest.mark.parametrize("is_link", [False, True])
def test_an_existing_file_is_never_replaced(tmp_path: Path, is_link: bool) -> None:
    """A link that leads nowhere is an existing file, too; nothing is written beside it."""
    mine = tmp_path / "copies.py"
    if is_link:
        mine.symlink_to(tmp_path / "nothing")
    else:
        mine.write_text("mine")

    said = init("--lesson", "copies", str(tmp_path))

    assert 2 == said.exit_code
    assert f"{mine} exists" in said.output
    assert f"`varsim init --lesson copies {tmp_path}_2`" in said.output
    assert [mine] == [*tmp_path.iterdir()]
    assert is_link or "mine" == mine.read_text()


def test_a_link_to_nothing_is_no_folder(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nothing")

    said = init("--lesson", "copies", str(link))

    assert 2 == said.exit_code
    assert f"{link} is a link to nothing, which does not exist: name a folder" in said.output


def test_a_wrong_name_gets_the_nearest_one_and_the_list(tmp_path: Path) -> None:
    said = init("--lesson", "copis", str(tmp_path))

    assert 2 == said.exit_code
    assert "did you mean 'copies'?" in said.output
    assert find_lesson("copies").title in said.output


def test_the_name_of_a_ready_made_experiment_gets_the_command_that_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment in configs/ of the current folder is preferred to that of the checkout."""
    monkeypatch.chdir(tmp_path)
    checkout = Path(__file__).parents[2] / "configs" / "digits_none.yaml"

    assert (
        f"run `varsim run {shlex.quote(str(checkout))}`" in init("--lesson", "digits_none").output
    )

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits_none.yaml").write_text("workload: digits")
    said = init("--lesson", "digits_none")
    assert 2 == said.exit_code
    assert "run `varsim run configs/digits_none.yaml`" in said.output


def test_without_a_name_the_lessons_are_listed_as_an_error() -> None:
    said = init()

    assert 2 == said.exit_code
    assert "--lesson NAME" in said.output
    assert find_lesson("copies").title in said.output


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    assert f"{blocked} is a file" in init("--lesson", "copies", str(blocked)).output
    below = init("--lesson", "copies", str(blocked / "folder"))
    assert 1 == below.exit_code
    assert "cannot be written" in below.output
