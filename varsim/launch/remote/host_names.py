"""Tell hosts apart: by names, by addresses where names are equal, and by the machines they are on.

Containers and network namespaces often have the host name of their machine, and several agents can
run on one machine.
"""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NETWORK: Final = Path("/proc/self/ns/net")


def this_machine() -> str:
    """Return a text that is equal for processes between which messages leave no network device.

    They have the same running system and, on Linux, the same network namespace: containers of one
    machine are different hosts.
    """
    with suppress(OSError):
        return f"{_BOOT.read_text().strip()} {_NETWORK.stat().st_ino}"
    return f"{uuid.getnode():x} {socket.gethostname()}"


def distinct_names(hosts: Sequence[tuple[str, str, int]]) -> list[str]:
    """Return a different name for each host.

    Args:
        hosts: The name of each host, its address, and the process of its agent. The address is
            added if another host has the same name, and the process if it has the same address.
    """
    names = Counter(name for name, _, _ in hosts)
    places = Counter((name, address) for name, address, _ in hosts)
    shown = []
    for name, address, process_id in hosts:
        more = [address] if names[name] > 1 and address else []
        if places[name, address] > 1:
            more.append(f"process {process_id}")
        shown.append(f"{name} ({', '.join(more)})" if more else name)
    return shown
