"""A Sphinx extension for pages and links that follow from the folders of the repository.

- A link to a folder leads to the folder's README if this is a page of the site, and otherwise to
  the name of the folder without a link: the site has no listings of folders. (MyST resolves links
  to pages, and copies other files that a page has a link to into the site.)
- In the navigation, the other pages of a folder are under the folder's README.
- `index.html` leads to the first page, which is in docs/, as its source is.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, Final

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

_FIRST: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>varsim</title>
<meta http-equiv="refresh" content="0; url={page}">
<a href="{page}">The documents of varsim</a>
</html>
"""


class LinksToFolders(SphinxPostTransform):
    """Replace each link to a folder, before MyST says that it is no page."""

    default_priority = 8  # MyST's is 9
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Make each link to a folder one to its README, or only text."""
        for link in list(self.document.findall(pending_xref)):
            if link["reftype"] == "myst" and link["refdomain"] != "doc":
                path = posixpath.join(posixpath.dirname(link["refdoc"]), link["reftarget"])
                folder = posixpath.normpath(path)
                if folder.startswith("..") or not (Path(self.env.srcdir) / folder).is_dir():
                    continue
                if (readme := f"{folder}/README") in self.env.found_docs:
                    link["refdomain"], link["reftype"] = "std", "doc"
                    link["reftarget"], link["refexplicit"] = f"/{readme}", True
                else:
                    link.replace_self(link[0].deepcopy())


def list_pages_of_folder(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the pages of a folder to the navigation, under the folder's README.

    Args:
        app: The build.
        page: The name of the page that is read, such as `docs/adr/README`.
        source: Its text, as the only element, which this function changes.
    """
    folder, _, name = page.rpartition("/")
    if name != "README" or not folder:
        return
    others = sorted(
        other
        for other in app.env.found_docs - {page}
        if other.startswith(f"{folder}/")
        and "/" not in other.removeprefix(f"{folder}/").removesuffix("/README")
    )
    if others:
        entries = "\n".join(f"/{other}" for other in others)
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def write_first_page(app: Sphinx, exception: Exception | None) -> None:
    """Write index.html at the top of a site that was built."""
    if exception is None and app.builder.format == "html":
        page = app.builder.get_target_uri(app.config.root_doc)
        (Path(app.outdir) / "index.html").write_text(_FIRST.format(page=page), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions with events of Sphinx."""
    app.connect("source-read", list_pages_of_folder)
    app.add_post_transform(LinksToFolders)
    app.connect("build-finished", write_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
