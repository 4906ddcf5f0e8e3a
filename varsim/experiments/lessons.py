"""Find the lessons that ship with varsim, and put the files of one into a folder."""

from __future__ import annotations

import itertools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from varsim.errors import ConfigError
from varsim.nearest import did_you_mean

FOLDER: Final = Path(__file__).parents[1] / "lessons"
_README: Final = "README.md"
_EXPERIMENTS: Final = (Path("configs"), FOLDER.parents[1] / "configs")
"""Where the ready-made experiments of a checkout are; an installed package does not have them."""
_COMMENT: Final = re.compile(rb"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_TITLE: Final = re.compile(r"# (?P<number>\d+)\. (?P<title>.+)")


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson: a folder with a text, an experiment and, mostly, a program."""

    name: str
    number: int  # the lesson's place in the course, from 1
    title: str
    files: tuple[Path, ...]  # the text is the first

    @property
    def experiment(self) -> str:
        """Return the name of the experiment's file."""
        return f"{self.name}.yaml"


def lessons() -> list[Lesson]:
    """Return all lessons, in the order of the course."""
    found = [_lesson(text.parent) for text in FOLDER.glob(f"*/{_README}")]
    return sorted(found, key=lambda lesson: lesson.number)


def _lesson(folder: Path) -> Lesson:
    text = folder / _README
    said = _TITLE.match(text.read_text("utf-8"))
    assert said, f"{text} does not begin with the number and the title of the lesson"
    others = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path != text and not path.name.startswith(".")
    )
    return Lesson(folder.name, int(said["number"]), said["title"], (text, *others))


def find_lesson(name: str) -> Lesson:
    """Return the lesson with this name.

    Raises:
        ConfigError: There is no such lesson. The text says how to run the ready-made experiment of
            this name, if there is one; otherwise it has the nearest name, and lists all lessons.
    """
    known = {lesson.name: lesson for lesson in lessons()}
    if name not in known:
        problem = f"there is no lesson {name!r}"
        for experiment in (folder / f"{name}.yaml" for folder in _EXPERIMENTS):
            if experiment.is_file():
                command = f"varsim run {shlex.quote(str(experiment))}"
                raise ConfigError(f"{problem}: it is a ready-made experiment; run `{command}`")
        near = did_you_mean(name, known)
        raise ConfigError(f"{problem}{near}\n{listed_lessons()}")
    return known[name]


def listed_lessons() -> str:
    """Return one line for each lesson: its name, its number and its title."""
    known = lessons()
    width = max(len(lesson.name) for lesson in known)
    return "\n".join(f"  {one.name:{width}}  {one.number}. {one.title}" for one in known)


def put(lesson: Lesson, folder: Path) -> list[Path]:
    """Write the files of a lesson into a folder, which is created if needed.

    The written text does not have the comments that tell `docs/transcripts.py` what to do.

    Returns:
        The written files.
    Raises:
        ConfigError: A file of the same name exists, or the folder is a file, or a
            link to nothing. Nothing is written.
        OSError: A file cannot be written. The files that were written before are removed.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder for the lesson")
    if folder.is_symlink() and not folder.exists():
        raise ConfigError(
            f"{folder} is a link to {folder.readlink()}, which does not exist: name a folder for "
            "the lesson"
        )
    contents = {folder / one.name: _content(one) for one in lesson.files}
    for target in contents:
        if target.exists() or target.is_symlink():
            raise _refused(target, lesson)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for target, content in contents.items():
            with target.open("xb") as file:  # a file that was created meanwhile is not replaced
                written.append(target)
                file.write(content)
    except FileExistsError:
        _remove(written)
        raise _refused(target, lesson) from None
    except BaseException:
        _remove(written)
        raise
    return written


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return _COMMENT.sub(b"", content) if file.name == _README else content


def _refused(target: Path, lesson: Lesson) -> ConfigError:
    folder = target.parent
    others = (folder.with_name(f"{folder.name}_{number}") for number in itertools.count(2))
    another = next(one for one in others if not one.exists())
    return ConfigError(
        f"{target} exists, and is not replaced: move it away, or name another folder, such as "
        f"`varsim init --lesson {lesson.name} {shlex.quote(str(another))}`"
    )


def _remove(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
