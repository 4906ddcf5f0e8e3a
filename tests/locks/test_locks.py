"""The lock files have all requirements of pyproject.toml for every Python, and no addresses."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from locks import installed, relock

PROJECT = tomllib.loads(relock.PYPROJECT.read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
BESIDE_TESTS = {"ray": Path("tests/hosts/requirements.txt")}
"""Large extras that `dev` does not have → the file with which the tests that need them install."""

ASKED = [
    Requirement(text)
    for group in (
        PROJECT["project"]["dependencies"],
        PROJECT["build-system"]["requires"],
        *(group for name, group in EXTRAS.items() if name not in BESIDE_TESTS),
    )
    for text in group
    if not text.startswith(PROJECT["project"]["name"])
]
LOCKS = sorted(relock.RESOLUTION)


def on(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.0"}


@pytest.mark.parametrize("python", relock.PYTHONS)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_all_requirements(lock: Path, python: str):
    """If this test fails after a change of a requirement, run `make upgrade`."""
    pins = installed.pins(lock, on(python))

    wrong = [
        f"{asked}: {pins.get(canonicalize_name(asked.name))}"
        for asked in ASKED
        if not asked.specifier.contains(pins.get(canonicalize_name(asked.name), "0"))
    ]

    assert [] == wrong


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_hashes_and_no_address(lock: Path):
    """The address of the package index is in pip's configuration on each machine."""
    text = lock.read_text("utf-8")
    entry = re.compile(r"[\w.-]+==\S+( ; [^\\/]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+")
    rest = re.sub(r"^(#.*)$", "", entry.sub("", text), flags=re.MULTILINE)

    assert "" == rest.strip()
    assert not re.search(r"[/@]", text)


@pytest.mark.parametrize("extra", BESIDE_TESTS)
def test_an_extra_beside_its_tests_is_the_one_that_is_installed_for_them(extra: str):
    lines = BESIDE_TESTS[extra].read_text("utf-8").splitlines()
    assert EXTRAS[extra] == [line for line in lines if not line.startswith("#")]


def test_the_oldest_releases_are_the_lower_bounds():
    """If a lower bound were not a release, CI could not test it."""
    lowest = installed.pins(relock.LOWEST, on("3.11"))
    newest = installed.pins(installed.NEWEST, on("3.11"))
    bound = {canonicalize_name(a.name): str(a.specifier).removeprefix(">=") for a in ASKED}

    assert [] == [
        f"{name}>={version}: {lowest[name]}"
        for name, version in bound.items()
        if not f"{lowest[name]}.".startswith(f"{version}.")
    ]
    assert lowest["cloudpickle"] != newest["cloudpickle"]


def test_documents_are_not_compared_with_other_releases(monkeypatch: pytest.MonkeyPatch):
    """With another release of click or pydantic the check is skipped, and the reason is given."""
    here = installed.pins(installed.NEWEST) | {"click": "99.0"}
    monkeypatch.setattr(metadata, "version", here.__getitem__)

    why = installed.why_documents_may_differ()

    assert f"click 99.0 instead of {installed.pins(installed.NEWEST)['click']}" in why
    assert "pydantic" not in why


def test_documents_are_compared_with_the_locked_releases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metadata, "version", installed.pins(installed.NEWEST).__getitem__)

    assert "" == installed.why_documents_may_differ()


def test_changes_are_listed_by_package():
    before = {"click": "8.1", "gone": "1.0", "same": "3"}
    after = {"click": "8.2", "new": "2.0", "same": "3"}

    told = [line.split() for line in relock.changes(before, after)]

    assert [
        ["click", "8.1", "→", "8.2"],
        ["gone", "1.0", "→", "-"],
        ["new", "-", "→", "2.0"],
    ] == told


def test_each_version_is_listed_with_its_python_versions(tmp_path: Path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "one==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:0\n"
        "one==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:0\n"
        "two==5 \\\n    --hash=sha256:0\n"
    )

    assert {"one": "1.0 on 3.11, 2.0 on 3.12, 2.0 on 3.13, 2.0 on 3.14", "two": "5"} == (
        relock.everywhere(lock)
    )
