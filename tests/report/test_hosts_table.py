"""The part of a report about hosts: where replicas ran, and what the hosts sent to each other."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import pairwise

import pytest

from tests.report.summaries import lens, summary, variable_summary
from varsim.report.hosts_table import MAX_HOSTS, NOT_RECORDED, places_text, traffic_in_short
from varsim.report.run_page import print_endings, print_report
from varsim.report.summary import Summary
from varsim.tracing.host_traffic import HostLink, HostTraffic

TITLE = "hosts: their replicas, and their messages to and from the program"
HOSTS = ["a", "a", "b", "b", "c"]


def link(*ends: str, messages: int = 4_242, delay_s: float | None = None) -> HostLink:
    within = ends == ("", "a")
    return HostLink(
        ends=list(ends),
        within=within,
        messages=messages,
        size_bytes=2**21,
        delay_s=delay_s,
        quartile_s=delay_s,
    )


LINKS = [link("", "a", delay_s=8e-5), link("", "b", delay_s=0.01234), link("", "c", delay_s=0.0004)]
TRAFFIC = HostTraffic.of(LINKS, ["a"])


def on_hosts(traffic: HostTraffic | None, **others: object) -> Summary:
    seen = variable_summary("w", lens(*range(5)))
    return summary(seen, workers=5, hosts=HOSTS, traffic=traffic, **others)


def report(one: Summary) -> str:
    """Return the report in 80 columns, with each text on one line."""
    text = StringIO()
    print_report(one, text, 80)
    assert max(map(len, text.getvalue().splitlines())) <= 80
    return " ".join(text.getvalue().split())


def test_a_table_has_a_row_for_each_host() -> None:
    text = report(on_hosts(TRAFFIC))

    assert TITLE in text
    assert "a 0, 1 cpu:0 and cpu:1 4,242 2.00 MiB 0.08" in text
    assert "b 2, 3 cpu:2 and cpu:3 4,242 2.00 MiB 12.3" in text
    assert "c 4 cpu:4 4,242 2.00 MiB 0.4" in text
    assert (
        "The program ran on a. Between hosts: 8,484 messages, 4.00 MiB. Within a host: 4,242 "
        "messages, 2.00 MiB. The slowest link between hosts: the program – b."
    ) in text
    assert "delay: half of the time" in text
    assert "Hosts: replicas 0, 1 on a (cpu:0 and cpu:1); replicas 2, 3 on b (cpu:2 and" in text


def test_long_names_of_hosts_and_devices_fit_into_a_terminal() -> None:
    names = [f"{one}-{'x' * 60}.example.org" for one in "abc"]
    links = [replace(one, ends=["", name]) for one, name in zip(LINKS, names, strict=True)]
    hosts = [names["abc".index(one)] for one in HOSTS]
    devices = [f"accelerator-of-some-kind:{i}" for i in range(5)]
    text = report(replace(on_hosts(HostTraffic.of(links, names[:1])), hosts=hosts, devices=devices))
    assert TITLE in text


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        (
            HostTraffic.of([replace(one, delay_s=None) for one in LINKS], []),
            ["ran on none of these hosts.", "slowest is not known.", "–: not known, because"],
        ),
        (
            HostTraffic.of([*LINKS, link("a", "b"), link("b", "c")], ["a"]),
            ["a – b 4,242 2.00 MiB", "between hosts of which the delay is known: the program – b."],
        ),
        (
            HostTraffic.of(LINKS, ["a"], "mine"),
            ["Not counted: what the exchange mine moved outside messages."],
        ),
        (
            HostTraffic.of([replace(one, quartile_s=1e-5) for one in LINKS], ["a"]),
            ["No link between hosts was clearly slower than the others."],
        ),
        (None, [NOT_RECORDED, "a 0, 1 cpu:0 and cpu:1"]),
    ],
)
def test_what_is_not_known_is_said(traffic: HostTraffic | None, said: list[str]) -> None:
    text = report(on_hosts(traffic))
    assert [] == [one for one in said if one not in text]


def test_on_one_machine_nothing_is_said_of_hosts() -> None:
    """Neither without hosts, nor if all messages stay on the program's machine."""
    inside = HostTraffic.of([LINKS[0]], ["a"])
    one_host = replace(on_hosts(inside), hosts=["a"] * 5)
    for one in (summary(workers=5), one_host):
        text = report(one)
        assert TITLE not in text
        assert "etween hosts" not in text
        assert "Hosts:" not in text
    assert "" == traffic_in_short(["a", "a"], inside)
    assert "" == traffic_in_short([], None)


def test_a_line_says_what_is_within_and_between_hosts() -> None:
    assert (
        "between hosts 4.00 MiB, within a host 2.00 MiB; slowest link between hosts: the program – "
        "b (12.3 ms)"
    ) == traffic_in_short(HOSTS, TRAFFIC)
    unknown = HostTraffic.of([replace(one, delay_s=None) for one in LINKS], ["a"], "mine")
    assert traffic_in_short(HOSTS, unknown).endswith(
        "within a host 2.00 MiB. Not counted: what the exchange mine moved outside messages"
    )
    assert NOT_RECORDED == traffic_in_short(HOSTS, None)


def test_a_table_says_of_which_incarnation_it_is():
    parts = [on_hosts(TRAFFIC, incarnation=i, incarnations=2) for i in (1, 2)]
    text = StringIO()
    print_endings(parts, text, 80)
    assert "hosts of incarnation 1 of 2: their replicas" in text.getvalue()
    assert "hosts of incarnation 2 of 2 (x): their replicas" in text.getvalue()


def test_of_many_hosts_some_are_shown():
    hosts = [f"h{i}" for i in range(MAX_HOSTS + 4)]
    direct = [link(one, other) for one, other in pairwise(hosts)]
    traffic = HostTraffic.of([*(link("", one, delay_s=0.1) for one in hosts), *direct], [])
    text = report(summary(workers=len(hosts), hosts=hosts, traffic=traffic))

    assert "4 more hosts are in summary.json. 3 more pairs of hosts are in summary.json." in text
    assert f"h{MAX_HOSTS - 1} {MAX_HOSTS - 1} cpu:{MAX_HOSTS - 1} 4,242" in text
    assert f"h{MAX_HOSTS} {MAX_HOSTS} cpu" not in text
    assert places_text(hosts, []).endswith(f"on h{MAX_HOSTS - 1}; 4 more hosts.")


def test_replicas_without_known_devices_have_hosts() -> None:
    assert "Hosts: replicas 0–2 on a; replica 3 on b." == places_text(["a", "a", "a", "b"], [])
    assert "" == places_text(["a", "a"], ["cpu:0", "cpu:1"])
