"""`varsim worker`: run the workers of a cluster on this host."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from varsim.cli.exit_codes import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USE,
    Failed,
    WrongUse,
    exit_meanings,
)

_STDIN = "-"
_CODES = {
    DONE: "the cluster has ended",
    FAILED: "it could not be joined, or the connection was lost",
    WRONG_USE: "wrong use",
}


@click.command(
    epilog=exit_meanings(_CODES, INTERRUPTED),
    short_help="Run workers of another host's cluster here.",
)
@click.option(
    "--coordinator",
    "endpoint",
    metavar="tcp://ADDRESS:PORT",
    required=True,
    help="Where the program waits for hosts. It prints this address with --launcher join.",
)
@click.option(
    "--key",
    metavar="FILE",
    required=True,
    help="The key of the cluster, which only its owner may read; - reads it from stdin, and then "
    "the workers end when stdin is closed.",
)
@click.option(
    "--rank",
    type=click.IntRange(min=0),
    help="The number of this host: the first hosts have the first replicas. By default, what "
    "mpirun, srun, an indexed Job or TF_CONFIG says, or the order of arrival.",
)
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0.0),
    default=60.0,
    show_default=True,
    help="How long to wait for a program that does not listen yet.",
)
def worker(endpoint: str, key: str, rank: int | None, wait_s: float) -> None:
    """Run the workers of a cluster on this host, for a program on another host.

    The program waits for hosts with the launcher `join`. It sends the settings,
    and this command starts this host's share of the workers. Their logs and
    traces are sent home at the end. The command ends with the cluster.
    """
    from varsim.errors import ConfigError, LinkLost, StartError
    from varsim.launch.remote.agent import serve
    from varsim.launch.remote.join_key import JoinKey, read_key

    if not endpoint.startswith("tcp://") or not endpoint.rpartition(":")[2].isdecimal():
        raise WrongUse(f"--coordinator {endpoint!r} must be tcp://ADDRESS:PORT")
    try:
        if key == _STDIN:
            known, watched = JoinKey.from_line(sys.stdin.readline(), "stdin"), sys.stdin.fileno()
        else:
            known, watched = read_key(Path(key)), None
        serve(endpoint, known, rank=rank, join_timeout_s=wait_s, watched=watched)
    except ConfigError as error:
        raise WrongUse(str(error)) from None
    except (StartError, LinkLost) as error:
        raise Failed(str(error)) from None
