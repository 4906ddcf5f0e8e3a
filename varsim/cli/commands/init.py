"""`varsim init`: put a lesson of the tutorial into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import DONE, INTERRUPTED, WRONG_USE, Failed, WrongUse, exit_meanings
from varsim.cli.output import say

_EXIT_CODES: Final = exit_meanings({1: "a file cannot be written"}, DONE, WRONG_USE, INTERRUPTED)


@click.command(epilog=_EXIT_CODES, short_help="Put a lesson of the tutorial into a folder.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--lesson",
    "name",
    metavar="NAME",
    shell_complete=completion.lesson_names,
    help="The lesson, such as copies or batch_norm.",
)
@click.option("--lessons", "lists", is_flag=True, help="List all lessons, and write nothing.")
def init(folder: Path | None, *, name: str | None, lists: bool) -> None:
    """Put the files of a lesson into FOLDER, by default a new folder with its name.

    A lesson is a text (README.md), an experiment (YAML), mostly a program, and the expected
    picture. Read README.md first: it says what to predict, what to run, and what to change. A file
    that exists is never replaced.

    \b
    varsim init --lessons
    varsim init --lesson copies
    varsim init --lesson batch_norm my_folder
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.lessons import find_lesson, listed_lessons, put

    if lists:
        say(listed_lessons())
        return
    if name is None:
        raise WrongUse(f"name a lesson: varsim init --lesson NAME\n{listed_lessons()}")
    try:
        lesson = find_lesson(name)
        folder = Path(lesson.name) if folder is None else folder
        written = put(lesson, folder)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    except OSError as error:
        raise Failed(f"the lesson cannot be written into {folder}: {error.strerror}") from error
    say(f"lesson {lesson.number}. {lesson.title}")
    say(f"wrote {', '.join(str(file) for file in written)}")
    say(f"Read {written[0]} first, and run its commands in {folder.absolute().name}/.")
