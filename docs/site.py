"""Build the site of the documents: `make docs`, and `make site-check` for a copy that is not kept.

Sphinx reads the Markdown files of the repository where they are (docs/conf.py). The build fails if
Sphinx warns, for example of a link to a page or a heading that does not exist, and if a page loads
something from a network: the site can be read without one, from files.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SITE: Final = ROOT / "site"
_BUILD_TIMEOUT_S: Final = 600  # a build takes seconds; a build that hangs must end

_LOADED: Final = {
    ".html": re.compile(
        r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\b(?:src|srcset)=["'](?P<script>[^"']+)"""
        r"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|icon|preload|modulepreload)["'])[^>]*?"""
        r"""\bhref=["'](?P<link>[^"']+)"""
    ),
    ".css": re.compile(r"""(?:@import\s+|url\(\s*)["']?(?P<script>[^"')\s;]+)"""),
}
"""What a page or a style sheet makes a browser load, without a click."""


class SiteError(Exception):
    """The site could not be built, or is not as it must be; the text has one problem in a line."""


def build(source: Path, out: Path, *, settings: Path | None = None) -> None:
    """Build the site.

    Args:
        source: The folder that has all documents, such as the checkout.
        out: The folder of the site.
        settings: The folder of conf.py; by default the documents' own.
    Raises:
        SiteError: Sphinx warned, or a page loads something from a network.
    """
    with tempfile.TemporaryDirectory() as pages:  # what Sphinx keeps between two builds
        arguments = ["--fail-on-warning", "--quiet"]
        arguments += ["--conf-dir", str(settings or ROOT / "docs"), "--doctree-dir", pages]
        arguments += [str(source), str(out)]
        if subprocess.run(
            [sys.executable, "-m", "sphinx", *arguments], check=False, timeout=_BUILD_TIMEOUT_S
        ).returncode:
            raise SiteError("the site was not built: Sphinx has said above what to mend")
    if loaded := list(loads_from_network(out)):
        raise SiteError("\n".join(loaded))


def loads_from_network(site: Path) -> Iterator[str]:
    """Yield a line for each address of a network that a file of a site loads by itself."""
    for path in sorted(path for path in site.rglob("*") if path.suffix in _LOADED):
        for match in _LOADED[path.suffix].finditer(path.read_text("utf-8")):
            address = next(group for group in match.groups() if group)
            if re.match(r"(?:[a-z]+:)?//", address):
                yield f"{path.relative_to(site)} loads {address}: have a copy of it in the site"


def main() -> int:
    """Build the site into site/, or only check that it can be built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="keep nothing; exit 1 if it fails")
    options = parser.parse_args()
    try:
        if options.check:
            with tempfile.TemporaryDirectory() as folder:
                build(ROOT, Path(folder))
        else:
            build(ROOT, SITE)
            print(f"open {SITE.relative_to(ROOT)}/index.html")
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
