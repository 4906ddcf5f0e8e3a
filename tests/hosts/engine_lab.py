"""Hosts as in a cluster: with names, an ssh server, and Open MPI.

    with EngineLab(3) as engines:
        engines.popen(0, [sys.executable, "-m", "varsim", "run", "--launcher", "ssh", …])

A process of a host sees the host's name, and files of its own at /etc/hosts, /etc/passwd and
/etc/shadow, which say where the hosts are and that root's home is a folder of the lab. So `ssh b`
and `mpirun --host a,b` need no options there, and read nothing of this machine's users. All keys
are made for the lab. The file system is shared by all hosts, as in many clusters; each host has a
folder for temporary files.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import string
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from tests.hosts.lab import Host, Lab, MadeOfParts
from tests.hosts.namespaces import processes_inside
from tests.waiting import MS, wait_for

NAMES: Final = string.ascii_lowercase
"""The names of the hosts: a, b, c, …"""

NOTICE: Final = "varsim: "
"""The beginning of a line that a program prints on stderr while it waits for slow hosts."""

_PROGRAMS: Final = {"sshd": "openssh-server", "ssh": "openssh-client", "mpirun": "openmpi-bin"}
_PRIVATE: Final = ("hosts", "passwd", "shadow")  # files in /etc that hosts have of their own
_SSH_PORT: Final = 22
_START_S: Final = 10_000 * MS

# The first line keeps the mounts in the namespace, the second one is where sshd changes root to.
_ENTER: Final = """\
mount -t tmpfs tmpfs /run && mkdir /run/sshd
for file in hosts passwd shadow; do mount --bind "$1/$file" "/etc/$file"; done
hostname "$2"
shift 2
exec "$@"
"""

_SSHD: Final = """\
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
PidFile none
SetEnv {environment}
"""

_SSH: Final = """\
Host *
IdentityFile {folder}/home/.ssh/key
UserKnownHostsFile {folder}/home/.ssh/known_hosts
StrictHostKeyChecking yes
"""


@cache
def why_no_engines() -> str:
    """Return which program is missing, and what to do; "" if there are ssh and Open MPI."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program, path=_search_path()) is None:
            return f"`{program}` is not installed (Debian, Ubuntu: apt-get install {package})"
    return ""


class EngineLab(MadeOfParts):
    """A lab whose hosts are named a, b, c, … and run an ssh server.

    At its end, the files of the hosts are removed, too.

    Args:
        num_hosts: The number of hosts.
        options: See `Lab`.
    Raises:
        OSError: Hosts cannot be made here.
        AssertionError: An ssh server does not start.
    """

    def __init__(self, num_hosts: int, **options: Any) -> None:
        self.variables: dict[str, str] = {}
        """Environment variables that further programs on the hosts get."""
        self.is_service: Callable[[str], bool] = lambda _: False
        """Returns whether a command is a service of the hosts, which `processes` leaves out."""
        with ExitStack() as stack:
            # The path of an ipc socket has at most 107 characters.
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab")))
            self.lab = stack.enter_context(Lab(num_hosts, **options))
            self.names = tuple(NAMES[:num_hosts])
            self._write_files()
            self._servers = [self._start_server(host) for host in self.lab.hosts]
            for host in self.lab.hosts:
                wait_for(partial(self._listens, host), _START_S, what="an ssh server")
            self._stack = stack.pop_all()

    def temporary(self, number: int) -> Path:
        """Return the folder for temporary files of a host."""
        return self.folder / self.names[number]

    def environment(self, number: int) -> dict[str, str]:
        """Return the environment of the processes of a host."""
        return {
            **os.environ,
            "PATH": _search_path(),
            "TMPDIR": str(self.temporary(number)),
            "HOME": str(self.folder / "home"),
            # As root, mpirun refuses to run without both.
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            **self.variables,
        }

    def popen(self, number: int, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process on a host. The lab kills it when it ends, with all processes there.

        Args:
            options: See `subprocess.Popen`.
        """
        enter = ["unshare", "--mount", "--uts", "sh", "-ec", _ENTER, "sh", str(self.folder)]
        return self.lab.popen(
            self.lab.hosts[number],
            [*enter, self.names[number], *arguments],
            env=self.environment(number),
            **options,
        )

    def processes(self) -> dict[int, str]:
        """Return the processes on all hosts, except their services: process id → command."""
        found = {}
        servers = {one.pid for one in self._servers}
        for host in self.lab.hosts:
            for pid in processes_inside(host.namespace):
                if pid not in servers:
                    with suppress(OSError):  # it has ended in the meantime
                        found[pid] = command_of(pid)
        return {
            pid: command
            for pid, command in found.items()
            if command and not self.is_service(command)
        }

    def left(self) -> list[str]:
        """Return the processes on all hosts, and the files of varsim."""
        return [*self.processes().values(), *self.files("varsim-*")]

    def files(self, pattern: str = "*") -> list[str]:
        """Return the names of temporary files on all hosts that match a pattern."""
        folders = map(self.temporary, range(len(self.names)))
        return sorted(f"{one.name}/{path.name}" for one in folders for path in one.glob(pattern))

    def _write_files(self) -> None:
        ssh = self.folder / "home/.ssh"
        ssh.mkdir(parents=True, mode=0o700)
        for path in (ssh / "key", self.folder / "host_key"):
            generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
            subprocess.run(generate, check=True)
        public = (self.folder / "host_key.pub").read_text().strip()
        addressed = [
            (one.address, name) for one, name in zip(self.lab.hosts, self.names, strict=True)
        ]
        (ssh / "known_hosts").write_text(
            "".join(f"{name},{address} {public}\n" for address, name in addressed)
        )
        (ssh / "config").write_text(_SSH.format(folder=self.folder))
        for name in _PRIVATE:
            (self.folder / name).write_text(self._private(name, addressed))
        for number in range(len(self.names)):
            self.temporary(number).mkdir(mode=0o700)

    def _private(self, name: str, addressed: Sequence[tuple[str, str]]) -> str:
        if name == "hosts":
            named = "".join(f"{address} {host}\n" for address, host in addressed)
            return f"127.0.0.1 localhost\n{named}"
        # sshd needs the other users of the machine, and refuses root if its account is locked.
        root = {"passwd": f"root:x:0:0:root:{self.folder}/home:/bin/sh", "shadow": "root:*:1::::::"}
        others = Path("/etc", name).read_text("utf-8").splitlines()
        lines = [root[name], *(line for line in others if not line.startswith("root:"))]
        return "".join(f"{line}\n" for line in lines)

    def _start_server(self, host: Host) -> subprocess.Popen[Any]:
        own = self.environment(host.number)
        known = {key: own[key] for key in ("PATH", "TMPDIR")}
        marks = {key: value for key, value in own.items() if key.startswith("VARSIM_TEST_")}
        config = self.folder / f"sshd_config-{self.names[host.number]}"
        config.write_text(
            _SSHD.format(
                address=host.address, folder=self.folder, environment=_joined(known | marks)
            )
        )
        program = shutil.which("sshd", path=_search_path())
        assert program is not None, why_no_engines()
        # sshd must have an absolute path: it starts itself again for each connection.
        arguments = [program, "-D", "-e", "-f", str(config)]
        with (self.folder / "sshd.log").open("ab") as log:
            return self.popen(host.number, arguments, stdin=subprocess.DEVNULL, stderr=log)

    def _listens(self, host: Host) -> bool:
        server = self._servers[host.number]
        said = (self.folder / "sshd.log").read_text("utf-8", "replace")
        assert server.poll() is None, f"the ssh server has ended: {said}"
        with self.lab.inside(host), suppress(ConnectionRefusedError):
            socket.create_connection((host.address, _SSH_PORT), 1.0).close()
            return True
        return False


def command_of(pid: int) -> str:
    """Return the command of a process; "" if it is a zombie.

    Raises:
        OSError: There is no such process.
    """
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def _joined(environment: Mapping[str, str]) -> str:
    return " ".join(shlex.quote(f"{key}={value}") for key, value in environment.items())


def _search_path() -> str:
    """Return the search path of programs, with the folders of those for root."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
