"""Settings of Sphinx for the site of the documents: `make docs` builds it into site/.

The sources are the Markdown files of the repository, where they are: docs/, and the READMEs of
other folders. docs/index.rst has the navigation. A warning of Sphinx, such as a link to a page or
a heading that does not exist, fails the build (docs/adr/0079).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]  # no stubs
from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for `docs.site_links`, which `extensions` names

project = "varsim"
html_title = "varsim"
language = "en"
root_doc = "docs/index"

include_patterns = [
    "*.md",
    "docs/**",
    "configs/README.md",
    "varsim/lessons/*/README.md",
    "examples/policies/README.md",
    "examples/policies/*/README.md",
    "workers/README.md",
    "benchmarks/README.md",
]
exclude_patterns = [".*", "**/__pycache__", "build", "dist", "runs", "site", "tests"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "docs.site_links", "docs.site_names"]

myst_heading_anchors = 6  # the anchors that links have in the repository
nitpicky = True
smartquotes_action = "D"  # dashes only: quotes stay as they are written

default_role = "code"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options: dict[str, list[str]] = {"footer_icons": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(ROOT / "docs" / "search_scorer.js")  # pages for users come first


def setup(app: Sphinx) -> None:
    """Show a diagram that GitHub draws, of the language Mermaid, as its text."""
    app.add_lexer("mermaid", TextLexer)
