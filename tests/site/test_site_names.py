"""The reference has each public name under the module from which users import it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.site_names import MODULES, exists, names_of, public_names, read_docstring

PAGES = "".join(
    path.read_text("utf-8") for path in (Path(__file__).parents[2] / "docs" / "api").glob("*.rst")
)


@pytest.mark.parametrize("module", MODULES)
def test_each_public_module_is_on_a_page(module: str):
    assert f".. automodule:: {module}\n" in PAGES


@pytest.mark.parametrize(
    ("defined", "public"),
    [
        ("varsim.distribute.variable.Variable", "varsim.Variable"),
        ("varsim.distribute.extended.Extended", "varsim.distribute.StrategyExtended"),
        ("varsim.errors.ConfigError", "varsim.errors.ConfigError"),
        ("varsim.distribute.strategy.ValueContext", "varsim.distribute.ValueContext"),
    ],
)
def test_a_type_leads_to_its_public_name(defined: str, public: str):
    assert public == public_names()[defined]


def test_names_that_do_not_exist_are_left_to_sphinx():
    assert exists("numpy.ndarray")
    assert exists("varsim.spec.Operation")
    assert not exists("varsim.Nothing")
    assert not exists("no_such_package.Thing")


def test_names_for_type_checkers_are_known():
    """Sphinx gives them as they are written, if it cannot evaluate an annotation."""
    assert "varsim" == names_of("varsim.workloads.job")["tf"]
    assert (
        "varsim.analysis.outcome.Outcome" == names_of("varsim.experiments.finished_run")["Outcome"]
    )


@pytest.mark.parametrize(
    ("what", "lines", "read"),
    [
        (
            "function",
            ["Run it.", "", "Returns:", "    The run: always."],
            ":returns: The run: always.",
        ),
        ("property", ["The first part: letters."], "The first part: letters."),
        ("module", ["All.", "", "Error", "├── Other"], "   ├── Other"),
    ],
)
def test_docstrings_have_no_types(what: str, lines: list[str], read: str):
    read_docstring(None, what, "name", None, None, lines)

    assert read in lines
