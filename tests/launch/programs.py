"""Programs that the workers of these tests run instead of varsim's program for workers."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from varsim.launch.link import WorkerLink
from varsim.protocol.messages import Abort, Component, Fetch, HostCall, Message, Payload, Shutdown
from varsim.protocol.python_values import StructureCodec


class NoObjects:
    """A table of named objects, without entries."""

    def name_of(self, value: object) -> None:
        return None

    def find(self, name: tuple[Any, ...]) -> object:
        raise AssertionError(name)


def _received(link: WorkerLink) -> Iterator[Message]:
    """Wait for envelopes, and return their messages."""
    return chain.from_iterable(link.channel.receive(None))


def serve(link: WorkerLink) -> None:
    """Answer each `Fetch`. Run the reason of an `Abort` as code, and send the value of `answer`."""
    while True:
        for message in _received(link):
            match message:
                case Shutdown():
                    return
                case Fetch(request_id=request, variable_id=variable):
                    value = np.full(3, link.replica_id)
                    link.channel.send(
                        [
                            Component(
                                request_id=request, variable_id=variable, version=1, value=value
                            )
                        ]
                    )
                case Abort(reason=program):
                    names = {"link": link, "os": os, "sys": sys, "np": np, "answer": None}
                    exec(program, names)
                    answer: Payload = StructureCodec(NoObjects()).pack(names["answer"])
                    link.channel.send([HostCall(call_id=0, request=answer, location="")])
                case _:
                    raise AssertionError(message)


def deaf(link: WorkerLink) -> None:
    """Work without end and without receiving, so that a `Shutdown` has no effect."""
    while True:
        os.getpid()


def hearing(link: WorkerLink) -> None:
    """Receive messages, and drop each one."""
    while not any(isinstance(message, Shutdown) for message in _received(link)):
        pass


def keeping(link: WorkerLink) -> None:
    """Keep all messages, and end with the first `Abort`."""
    kept: list[Message] = []
    while not any(isinstance(message, Shutdown | Abort) for message in kept):
        kept += _received(link)


def draw() -> tuple[float, float]:
    """Return one number of each global generator; a function for `strategy.run`."""
    return random.random(), float(np.random.random())  # noqa: NPY002  # as programs still do
