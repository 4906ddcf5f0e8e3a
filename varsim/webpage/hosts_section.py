"""The section about hosts: where replicas ran, and what the hosts sent to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from varsim.report.hosts_table import (
    DIRECT_TITLE,
    TITLE,
    about_delays,
    between_hosts,
    direct_columns,
    host_columns,
    sentences_on_hosts,
)
from varsim.report.tables import Column
from varsim.webpage.reported import ReportedRecord
from varsim.webpage.section import Section


def hosts_section(record: ReportedRecord) -> Section | None:
    """Return the section, if a link connects two machines."""
    summary = record.summary
    if summary is None or not between_hosts(summary.hosts, summary.traffic):
        return None
    traffic = summary.traffic
    tables = [_table(TITLE.format(""), "host", *host_columns(summary))]
    if traffic is not None and traffic.direct:
        tables.append(_table(DIRECT_TITLE, "hosts", *direct_columns(traffic)))
    return Section(
        key="hosts",
        title="Hosts",
        template="hosts.html",
        content={
            "tables": tables,
            "sentences": list(sentences_on_hosts(traffic)),
            "note": "" if traffic is None else about_delays(traffic),
        },
    )


def _table(
    title: str, corner: str, labels: Sequence[str], columns: Sequence[Column]
) -> dict[str, Any]:
    return {
        "title": title,
        "headings": [(corner, False), *((" ".join(c.heading.split()), c.right) for c in columns)],
        "rows": [
            (label, [(column.cells[row], column.right) for column in columns])
            for row, label in enumerate(labels)
        ],
    }
