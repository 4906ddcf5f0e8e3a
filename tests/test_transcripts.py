"""The lessons and docs/first-hour.md: their commands print what the documents say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.transcripts import documents, run, stale, without_times
from locks.installed import why_documents_may_differ

each_document = pytest.mark.parametrize(
    "document", documents(), ids=lambda path: f"{path.parent.name}/{path.stem}"
)


@pytest.mark.skipif(bool(why_documents_may_differ()), reason=why_documents_may_differ())
@pytest.mark.thorough
@pytest.mark.processes
@pytest.mark.timeout(600)  # seconds; 10 for a document on an idle machine
@each_document
def test_commands_print_what_a_document_says(document: Path, tmp_path: Path) -> None:
    """Packages are not installed here; `make wheel-smoke` and `make install-smoke` do so."""
    assert [] == stale(document, tmp_path, installs=False), "run `make transcripts`"


def test_a_document_runs_in_its_order(tmp_path: Path) -> None:
    """Files, changes, failed commands, the shell's folder and variables, and shortened output."""
    document = tmp_path / "document.md"
    document.write_text(
        """
```console
$ mkdir below; cd below
```

```python title="a.py"
x = 1
print(x)
```

```diff
--- a.py
+++ a.py
-x = 1
+x = 2
 print(x)
```

```python
x = 2
```

```console
$ python3 a.py
old
$ export WORD=kept; cd ..; cd -
$ echo $WORD; false
```

<!-- show from "two" to "three" -->
```console
$ printf 'one\\ntwo\\nstep 1/2\\nthree\\nfour\\n'
```
""",
        "utf-8",
    )
    text, pictures = run(document, tmp_path)

    assert {} == pictures
    assert "$ python3 a.py\n2\n$ export" in text
    assert "$ echo $WORD; false\nkept\n(exit code 1)\n" in text
    assert "x = 2\nprint(x)\n" == (tmp_path / "lesson" / "below" / "a.py").read_text("utf-8")
    assert "four\\n'\n…\ntwo\nthree\n…\n```" in text


@pytest.mark.parametrize(
    "wrong",
    [
        "```diff\n--- a.py\n+++ a.py\n-missing\n+there\n```\n",
        "```python\nmissing\n```\n",
        '<!-- show from "missing" -->\n```console\n$ echo there\n```\n',
    ],
)
def test_a_document_that_does_not_fit_its_files_is_an_error(wrong: str, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f'```python title="a.py"\nx = 1\n```\n\n{wrong}', "utf-8")

    with pytest.raises(ValueError, match=r"document\.md|no line of this output"):
        run(document, tmp_path)


def test_only_times_and_names_of_runs_may_differ() -> None:
    said = "start-up {} s · training 0.01 s\nw  9  18  72 B  {}\nsaved in runs/{}-copies/\n"

    assert without_times(said.format("0.34", "0.01", "20260102-030405")) == without_times(
        said.format("1.20", "0", "20260203-040506")
    )
    assert without_times("weight  2  4") != without_times("weight  2  5")
