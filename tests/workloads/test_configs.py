"""Each lesson in configs/ can be read, is in the course, and runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from varsim.experiments.config import load
from varsim.workloads.catalog import load_workload

CONFIGS = Path(__file__).parents[2] / "configs"
LESSONS = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_says_what_to_look_at(lesson: Path) -> None:
    """Editors find the schema, readers find what to look at, and the name is the file's."""
    first, *_ = text = lesson.read_text(encoding="utf-8").splitlines()
    experiment = load(str(lesson), [], {})

    assert "# yaml-language-server: $schema=experiment.schema.json" == first
    assert any(line.startswith("# Look at: ") for line in text)
    assert lesson.stem == experiment.name
    load_workload(experiment.workload).checked(experiment.params)


def test_the_course_has_every_lesson_once() -> None:
    """README.md orders them, and its links lead somewhere."""
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")

    assert 11 == len(LESSONS)
    for lesson in LESSONS:
        assert 1 == readme.count(f"[{lesson.stem}]({lesson.name})")
