"""The search for the source files of a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from varsim.experiments import sources
from varsim.experiments.sources import (
    ProgramLocation,
    forget_imported,
    location_of_file,
    location_of_module,
    sources_of,
)

Write = Callable[[str, str], Path]


def names(location: ProgramLocation | None) -> list[str]:
    assert location is not None
    return list(sources_of(location).files)


def test_imports_from_the_folder_of_a_file_are_followed(write: Write):
    """Imports inside functions, through packages and relative imports are followed, too."""
    write(
        "program.py", "import numpy, a.b\nimport varsim as tf\ndef f():\n  from c import d, name\n"
    )
    write("a/__init__.py", "from . import near\nfrom .deep.er import x")
    write("a/b.py", "from .near import y\nfrom ..outside import z")
    write("a/near.py", "import program")
    write("a/deep/er.py", "import near")
    write("c/d.py", "import e")
    write("e.py", "")
    write("unused.py", "")

    assert [
        "program.py",
        "a/__init__.py",
        "a/b.py",
        "c/d.py",
        "a/near.py",
        "a/deep/er.py",
        "e.py",
    ] == names(location_of_file(write("program.py", Path("program.py").read_text())))


def test_varsim_itself_is_not_part_of_a_program(write: Write, monkeypatch: pytest.MonkeyPatch):
    """This holds even for a program in the folder of the package varsim, as in a checkout."""
    monkeypatch.setattr(sources, "_OURS", write("varsim/__init__.py", "").parent)

    assert ["program.py"] == names(location_of_file(write("program.py", "import varsim as tf")))


def test_packages_installed_beside_a_program_are_not_part_of_it(write: Write):
    """`pip install --target .` installs packages beside a program, even some that varsim uses."""
    write("numpy/__init__.py", "")
    write("six.py", "")
    write("numpy-2.0.dist-info/RECORD", "numpy/__init__.py,sha256=x,0\nnumpy/core.py,,\n")
    write("six-1.0.dist-info/RECORD", "six.py,,\n")
    write("own.py", "")

    assert ["program.py", "own.py"] == names(
        location_of_file(write("program.py", "import numpy, six, own"))
    )


def test_a_file_with_a_syntax_error_is_part_of_the_program(write: Write):
    assert ["program.py"] == names(location_of_file(write("program.py", "def\nimport beside")))


def test_large_files_are_left_out_and_named(write: Write):
    write("large.py", "#" * 2**21)
    found = sources_of(location_of_file(write("program.py", "import large")))

    assert ["program.py"] == list(found.files)
    assert ["large.py: too many files, or too large"] == found.left_out


def test_a_module_is_stored_below_its_topmost_package(write: Write):
    write("pack/__init__.py", "")
    module = write("pack/age.py", "from . import beside")
    package = write("pack/sub/__init__.py", "")
    root = module.parents[1]

    assert ProgramLocation(module, root) == location_of_module("pack.age", str(module))
    assert ProgramLocation(package, root) == location_of_module("pack.sub", str(package))
    assert ["pack/age.py", "pack/__init__.py"] == names(location_of_module("pack.age", str(module)))


def test_an_installed_module_has_no_source_folder():
    assert location_of_module("json", json.__file__) is None
    assert location_of_module("x.y", "/v/lib/python3.11/site-packages/x/y.py") is None
    assert location_of_module("built_in", None) is None


def test_modules_that_varsim_uses_are_not_imported_again(write: Write):
    """This holds even if a file of the program has the same name."""
    for name in ("json", "click", "own_for_test"):
        write(f"{name}.py", "")
    program = write("program.py", "import json, click, own_for_test")
    sys.modules["own_for_test"] = ModuleType("own_for_test")
    sys.modules["own_for_test"].__file__ = "/elsewhere/own_for_test.py"
    before = json, click
    forget_imported(location_of_file(program))

    assert before == (sys.modules["json"], sys.modules["click"])
    assert "own_for_test" not in sys.modules
