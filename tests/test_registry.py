"""A registry finds varsim's own implementations, and those of other installed packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from varsim.errors import ConfigError
from varsim.registry import BuiltIn, Registry
from varsim.transport.ipc import Ipc
from varsim.transport.transport import TRANSPORTS

OWN = {"one": BuiltIn("collections:Counter", "counts"), "two": BuiltIn("nowhere:Thing", "lost")}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    """Return a registry, for which an installed package has entry points."""
    folder = tmp_path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[varsim.tests]\nthree = collections:OrderedDict\none = builtins:dict\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("thing", OWN, "varsim.tests", also={"auto": "one of them"})


def test_a_registry_lists_names_of_varsim_and_of_other_packages(registry: Registry[object]) -> None:
    assert ("auto", "one", "two", "three") == registry.names()
    assert "auto: one of them. one: counts. two: lost." == registry.summary()


def test_a_package_that_is_installed_while_the_program_runs_is_found(
    registry: Registry[object], tmp_path: Path
) -> None:
    before = registry.names()
    folder = tmp_path / "later-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[varsim.tests]\nfour = builtins:list\n")
    os.utime(tmp_path, ns=(0, 1))  # another time than before, however coarse the clock is

    assert {*before, "four"} == set(registry.names())


def test_another_package_does_not_replace_an_implementation(registry: Registry[object]) -> None:
    assert ["Counter", "OrderedDict"] == [type(registry.make(n)).__name__ for n in ("one", "three")]


def test_an_error_suggests_the_nearest_name(registry: Registry[object]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'three'"):
        registry.check("thre")


@pytest.mark.parametrize("name", ["xyz", "", 7, None])
def test_an_unknown_name_is_refused(registry: Registry[object], name: object) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.check(name)
    expected = "expected 'auto', 'one', 'two' or 'three'"
    assert f"invalid thing {name!r}: {expected}" == str(caught.value)


def test_an_unimportable_implementation_is_a_config_error(
    registry: Registry[object],
) -> None:
    with pytest.raises(ConfigError, match="thing 'two' cannot be imported: No module named"):
        registry.make("two")


def test_a_registry_without_a_group_has_only_varsims_names() -> None:
    assert ("auto", "ipc", "tcp") == TRANSPORTS.names()
    assert isinstance(TRANSPORTS.make("ipc"), Ipc)
