"""The pictures of reports in the documents."""

from __future__ import annotations

from docs.screenshots import FOLDER, SHOTS

MOST_BYTES = 200_000


def test_each_picture_is_made_by_the_command_and_is_small():
    pictures = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}

    assert {shot.name for shot in SHOTS} == pictures.keys()
    assert max(pictures.values()) < MOST_BYTES
