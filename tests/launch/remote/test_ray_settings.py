"""The launcher "ray" without Ray: its settings, which node gets which replicas, and its errors."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from tests.launch.programs import NoObjects
from varsim.errors import ConfigError
from varsim.launch.backends import named_launcher
from varsim.launch.host_checks import State
from varsim.launch.launcher import LaunchOptions
from varsim.launch.remote import ray_connection, ray_launcher
from varsim.launch.remote.host_launcher import contiguous
from varsim.launch.remote.ray_driver import placed
from varsim.launch.remote.ray_launcher import RayLauncher
from varsim.launch.remote.ray_words import bundles_text, reserving, said_by


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"adress": "a:1"}, "has no setting 'adress': it has address, .*did you mean 'address'"),
        ({"python": "python3"}, "has no setting 'python'"),
        ({"address": 7}, "address is 7, and must be a text, such as 203.0.113.1:6379"),
        ({"listen": ""}, "listen is '', and must be a text"),
        ({"placement": "spraed"}, "must be spread or pack; did you mean 'spread'"),
        ({"hosts": ["a"]}, "must be the number of nodes: Ray chooses which ones"),
        ({"hosts": True}, "must be the number of nodes"),
        ({"hosts": 0}, "must be the number of nodes"),
        ({"resources_per_worker": {}}, "must be a mapping of resources to positive numbers"),
        ({"resources_per_worker": {"CPU": 0}}, "must be a mapping of resources to positive"),
        ({"resources_per_worker": {"CPU": True}}, "must be a mapping of resources to positive"),
        ({"resources_per_worker": {1: 1}}, "must be a mapping of resources to positive"),
        ({"runtime_env": "pip"}, "must be a mapping, such as"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"launcher 'ray'.*{said}"):
        RayLauncher.from_settings(settings)


def test_settings_are_those_of_an_experiment() -> None:
    settings = {"address": "a:1", "hosts": 2, "resources_per_worker": {"CPU": 0.5, "GPU": 1}}
    assert "ray" == named_launcher({"ray": settings})["launcher"]
    assert 2 == RayLauncher.from_settings(settings).settings.number
    made = RayLauncher.from_settings({"start_timeout_s": 240}).settings
    assert 240.0 == made.start_timeout_s


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        (None, r"needs Ray, which is not installed: pip install 'varsim-distribute\[ray\]'"),
        ("2.9.3", r"needs Ray 2.50 or later, and 2.9.3 is installed: pip install 'varsim"),
        ("2.50.1", "2 workers on 3 hosts"),  # so this release is new enough
        ("3.0.0.dev0", "2 workers on 3 hosts"),
    ],
)
def test_ray_must_be_installed(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, said: str
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(ray_connection, "version", version)
    launcher = RayLauncher.from_settings({"hosts": 3})
    with pytest.raises(ConfigError, match=said):
        launcher.launch(LaunchOptions(7, ("CPU:0", "CPU:1")), NoObjects())


@pytest.mark.parametrize(
    ("nodes", "counts", "first", "shares"),
    [
        ("abc", [1, 1, 1], [0, 1, 2], [1, 1, 1]),
        ("abab", [1, 1, 1, 1], [0, 1], [2, 2]),
        ("baa", [1, 1, 1], [0, 1], [1, 2]),
        ("ab", [3, 2], [0, 1], [3, 2]),
    ],
)
def test_a_node_has_the_replicas_of_its_bundles(
    nodes: str, counts: list[int], first: list[int], shares: list[int]
) -> None:
    """The first bundle of each node has its agent, and ids are contiguous."""
    assert (first, shares) == placed(list(nodes), counts)
    ids = [replica_id for one in contiguous(shares) for replica_id in one]
    assert list(range(sum(counts))) == ids


def test_an_actor_takes_all_of_a_bundle() -> None:
    """Otherwise, Ray could give the bundle to another task of the placement group."""
    assert {"num_cpus": 2} == reserving({"CPU": 2})
    bundle = {"GPU": 1, "memory": 7, "slot": 0.5}
    expected = {"num_cpus": 0, "num_gpus": 1, "memory": 7, "resources": {"slot": 0.5}}
    assert expected == reserving(bundle)
    assert "2 × {GPU: 1, memory: 7, slot: 0.5}, 1 × {CPU: 0.5}" == bundles_text(
        [bundle, dict(bundle), {"CPU": 0.5}]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "The actor died.\n\tclass_name: A\n\tpid: 7\n\tip: 203.0.113.2\nIts node has died.",
            "The actor died. ip: 203.0.113.2 Its node has died.",
        ),
        (
            "An error, \x1b[36mray::A\x1b[39m (pid=7)\n  File 'a.py', line 1\n    f()\n    ^^^\n"
            "OSError: no disk",
            "OSError: no disk",
        ),
        (
            "An error\n  File 'a.py', line 1\nModuleNotFoundError: No module named 'varsim'",
            "ModuleNotFoundError: No module named 'varsim' (varsim must be installed on all nodes, "
            "or be named in runtime_env)",
        ),
    ],
)
def test_errors_of_ray_are_one_line(text: str, said: str) -> None:
    assert f"RuntimeError: {said}" == said_by(RuntimeError(text))


@pytest.mark.parametrize(
    ("num_workers", "remedy"), [(2, ""), (3, "wait for the other"), (5, "start more nodes")]
)
def test_what_workers_reserve_is_compared_with_what_ray_has(num_workers: int, remedy: str) -> None:
    check = ray_launcher._room(num_workers, {"CPU": num_workers}, {"CPU": 2.0}, {"CPU": 4.0})
    assert f"2 of 4 CPU free, and {num_workers} workers reserve {num_workers}" == check.found
    assert (check.state is State.OK) == (remedy == "")
    assert check.remedy.startswith(remedy)
