"""A site has all pages with valid links, and loads nothing from a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.site import SiteError, build, loads_from_network

pytestmark = pytest.mark.thorough

INDEX = """\
First
=====

.. toctree::

   /lessons/README
"""
PAGES = {
    "docs/index.rst": INDEX,
    "lessons/README.md": "# Lessons\n\n[All](.), [one](one.md#the-end), [its file](one.yaml).",
    "lessons/one.md": "# One\n\n[Data](../data), [lessons](../lessons/).\n\n## The end\n",
    "lessons/one.yaml": "steps: 1\n",
    "data/x.csv": "1\n",
    "_static/site.css": "",
}
SETTINGS = """\
import sys
sys.path.insert(0, {root!r})
from docs.conf import *
include_patterns = ["docs/index.rst", "lessons/*.md"]
"""


def written(folder: Path, **changed: str) -> Path:
    """Write the sources of a small site; a changed page has its text added at its end."""
    source = folder / "source"
    for name, text in PAGES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + changed.get(path.stem, ""), "utf-8")
    root = str(Path(__file__).parents[2])
    (source / "conf.py").write_text(SETTINGS.format(root=root), "utf-8")
    return source


def test_links_of_a_repository_work_in_the_site(tmp_path: Path):
    """Pages of a folder are in the navigation under its README, without an entry for each."""
    source = written(tmp_path)

    build(source, tmp_path / "site", settings=source)

    lessons = (tmp_path / "site" / "lessons" / "README.html").read_text("utf-8")
    one = (tmp_path / "site" / "lessons" / "one.html").read_text("utf-8")
    first = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert 'href="one.html#the-end"' in lessons
    assert "one.yaml" in lessons
    assert [] != list((tmp_path / "site" / "_downloads").rglob("one.yaml"))
    assert re.search(r"<p>(<span[^>]*>)?Data(</span>)?, <a", one)
    assert 'href="README.html"' in one
    assert 'url=docs/index.html"' in first
    assert [] == list(loads_from_network(tmp_path / "site"))


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("\n[gone](two.md)\n", "two.md"),
        ("\n[gone](#the-beginning)\n", "the-beginning"),
        ("\n[gone](nowhere)\n", "nowhere"),
        ("\n```{eval-rst}\n:py:class:`varsim.Nothing`\n```\n", "varsim.Nothing"),
    ],
)
def test_a_link_to_nothing_fails_the_build(
    addition: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    source = written(tmp_path, one=addition)

    with pytest.raises(SiteError):
        build(source, tmp_path / "site", settings=source)

    assert said in capfd.readouterr().err


def test_a_page_that_loads_from_a_network_fails_the_build(tmp_path: Path):
    """A link that a reader must click is not loaded."""
    image = '\n<img src="https://example.org/x.png"> <a href="https://example.org">x</a>\n'
    source = written(tmp_path, one=image)

    with pytest.raises(SiteError, match=r"^lessons/one.html loads https://example.org/x.png") as it:
        build(source, tmp_path / "site", settings=source)

    assert 1 == len(str(it.value).splitlines())


@pytest.mark.parametrize(
    ("name", "text", "loaded"),
    [
        ("x.html", '<script defer src="//cdn.example.org/x.js"></script>', True),
        ("x.html", '<link href="https://fonts.example.org/x.css" rel="stylesheet">', True),
        ("x.html", '<link rel="stylesheet" href="_static/x.css">', False),
        ("x.html", '<link rel="next" href="https://example.org/x.html">', False),
        ("x.css", "@font-face { src: url('https://fonts.example.org/x.woff2') }", True),
        ("x.css", "a { background: url(data:image/png;base64,AA//BB) }", False),
    ],
)
def test_loads_are_told_from_links(name: str, text: str, loaded: bool, tmp_path: Path):
    (tmp_path / name).write_text(text, "utf-8")

    assert loaded == bool(list(loads_from_network(tmp_path)))
