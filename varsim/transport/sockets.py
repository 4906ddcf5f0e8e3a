"""Send envelopes over ZeroMQ: the coordinator has a ROUTER socket, and each worker a DEALER socket.

An envelope is one multipart message: it arrives completely or not at all. Every wait in this file
has a deadline. The sockets have no high-water mark, because the protocol already limits the number
of messages: a replica that waits for an answer sends no other message.

`RouterListener` and `DealerConnection` are the ends of a transport. Each has a ZeroMQ context.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any, Final

import zmq

from varsim.errors import StartError
from varsim.protocol.limits import MAX_FRAME_BYTES, Buffer
from varsim.threads import spare_threads
from varsim.transport.connection_watch import ConnectionWatch
from varsim.transport.keys import AllowList, KeyPair
from varsim.transport.listening_port import ListeningPort
from varsim.transport.strangers import Strangers
from varsim.value_class import value_class

COPY_LIMIT_BYTES: Final = 2**20
"""Smaller frames are copied when they are sent; the array can then be changed immediately.

Frames of this size or larger are not copied. pyzmq then starts a thread, which frees the memory
of a frame that has been sent. For small frames, a copy is faster.
"""

_FREEING_THREADS: Final = 3  # pyzmq's thread, and two of the ZeroMQ context that the thread uses

_VIEW_BYTES: Final = 64 * 1024
"""Smaller frames are copied when they are received: a copy is aligned, and takes less memory."""

MAX_DRAINED: Final = 1000
"""Largest number of envelopes that one `drain` returns, so that other work is done in between."""

MAX_IPC_PATH: Final = zmq.IPC_PATH_MAX_LEN
"""Largest length of the path in an ipc endpoint on this system (107 on Linux)."""

# These are plain numbers, because combining pyzmq's enums takes as long as receiving a message.
_SNDMORE: Final = int(zmq.SNDMORE)
_NOBLOCK: Final = int(zmq.NOBLOCK)
_POLLIN: Final = int(zmq.POLLIN)

_CONNECT_TIMEOUT_MS: Final = 10_000  # much longer than needed: the coordinator already listens
_HANDSHAKE_IVL_MS: Final = 30_000  # long, because the allow-list answers only during a poll
_DISCONNECT_S: Final = 2.0  # much longer than needed

_TRY_CONNECTING_MS: Final = 500
"""After this time, libzmq ends an attempt to connect, and starts another one after a pause.

The system would repeat the request after 1, 3 and 7 s, so a link would stay cut for seconds after
its network has healed. The time must be longer than a round trip of the network (`link_times`).
"""

_RECONNECT_IVL_MS: Final = 100
"""The pause between two attempts to connect. It does not grow, for the same reason."""

NOTICED_AFTER_S: Final = 2
"""A connection of TCP ends when the other system has not answered for so many seconds. The system
also answers for a stopped or busy process, and while a large message is sent. The heartbeats of
ZeroMQ are not used, because they could end such connections.

During a cut, TCP repeats its packets after 0.2, 0.6, 1.4 and 3 s, and so on. With a later end, a
connection would survive some cuts, but continue only long after them. `tests.hosts.partitions`
measures this."""


@value_class
class DealerKeys:
    """The keys that a worker needs to connect to a coordinator."""

    own: KeyPair
    server_public: bytes


@value_class
class ServerKeys:
    """The key pairs of a coordinator and of each of its workers."""

    own: KeyPair
    workers: Sequence[KeyPair]  # one pair per worker, in replica order


def routing_id(replica_id: int) -> bytes:
    """Return the routing id of a replica's connection."""
    return b"replica-%d" % replica_id


def _check_keys(endpoint: str, keys: ServerKeys | DealerKeys | None) -> None:
    """Refuse an endpoint that other users or hosts can reach, if messages would not be encrypted.

    Raises:
        StartError: There are no keys.
    """
    if keys is None and not endpoint.startswith(("ipc://", "inproc://")):
        raise StartError(
            f"{endpoint}: refused without keys, because other users and hosts could read and send"
            " messages there; give keys for CURVE, or use ipc on one host"
        )


class RouterListener:
    """The coordinator's end of a transport over ZeroMQ, without link states."""

    look_s: Final = None

    def __init__(
        self,
        endpoint: str,
        num_replicas: int,
        keys: ServerKeys | None = None,
        port: ListeningPort | None = None,
        stretch: float = 1.0,
    ) -> None:
        """Bind the socket.

        Args:
            endpoint: See `Router`.
            keys: The keys for CURVE: only workers with these keys can connect. None: no CURVE.
            port: For tcp, the port of the endpoint; `close` closes it.
            stretch: See `link_times`.
        Raises:
            StartError: The endpoint is of TCP, and there are no keys.
        """
        _check_keys(endpoint, keys)
        self._routing_ids = [routing_id(i) for i in range(num_replicas)]
        self._replica_ids = {name: i for i, name in enumerate(self._routing_ids)}
        self._allow_list: AllowList | None = None
        with ExitStack() as stack:
            context = zmq.Context[zmq.Socket[bytes]]()
            stack.callback(context.term)
            if keys is not None:
                workers = enumerate(keys.workers)
                owners = {pair.public: routing_id(i) for i, pair in workers}
                self._allow_list = AllowList(context, owners)
                stack.callback(self._allow_list.close)
            if port is not None:
                stack.callback(port.close)
            self._router = Router(context, endpoint, keys.own if keys else None, port, stretch)
            stack.callback(self._router.close)
            self._stack = stack.pop_all()

    @property
    def endpoint(self) -> str:
        """Return the endpoint to which the socket is bound."""
        return self._router.endpoint

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the same endpoint for every worker."""
        return (self.endpoint,) * len(self._replica_ids)

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """Return the sockets to poll."""
        own = self._router.sockets
        return own if self._allow_list is None else (*own, self._allow_list.socket)

    def send(self, replica_id: int, frames: Sequence[Buffer]) -> bool:
        """Send an envelope without waiting; return False if the worker is not connected."""
        return self._router.send(self._routing_ids[replica_id], frames)

    def drain(self) -> list[tuple[int, list[Buffer]]]:
        """Return the received envelopes. With keys, also accept or refuse new connections."""
        if self._allow_list is not None:
            self._allow_list.answer()
        return [
            (self._replica_ids[sender], frames)
            for sender, frames in self._router.drain()
            if sender in self._replica_ids
        ]

    def look(self, is_stopped: Callable[[int], bool]) -> Collection[int]:  # noqa: ARG002
        """Return (): the fork server reports workers that have ended."""
        return ()

    def lose(self, replica_id: int) -> None:
        """Do nothing: there is no state for each worker."""

    def admit_only_known(self) -> None:
        """Accept new connections only from the addresses of workers that have connected."""
        if self._allow_list is not None:
            self._router.admit_only(self._allow_list.addresses)

    def close(self) -> None:
        """Close the sockets; unsent messages are dropped."""
        self._stack.close()


class DealerConnection:
    """A worker's end of a transport over ZeroMQ."""

    link_faults = None

    def __init__(
        self, endpoint: str, name: bytes, keys: DealerKeys | None = None, stretch: float = 1.0
    ) -> None:
        """Start to connect.

        Args:
            name: The routing id of this end, such as `routing_id` of a replica.
            stretch: See `link_times`.
        Raises:
            StartError: The endpoint is of TCP, and there are no keys.
        """
        _check_keys(endpoint, keys)
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self.dealer = Dealer(self._context, endpoint, name, keys, stretch)
        self.send = self.dealer.send
        self.receive = self.dealer.receive

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """Return the socket to poll."""
        return (self.dealer.socket,)

    def close(self, linger_s: float) -> None:
        """Wait at most `linger_s` until all messages are sent; close the socket."""
        self.dealer.close(linger_s)
        self._context.term()


class Router:
    """The bound socket of a coordinator, which addresses its peers by routing ids."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        keys: KeyPair | None = None,
        port: ListeningPort | None = None,
        stretch: float = 1.0,
    ) -> None:
        """Bind the socket.

        Args:
            context: A context that has an `AllowList`, if `keys` are given.
            endpoint: `ipc://…` in a private directory, or with keys `tcp://ADDRESS:*`, where
                ADDRESS is one of this host.
            keys: The keys for CURVE. With keys, only peers on the allow-list can connect.
            port: The open port of the endpoint; None: open the port.
            stretch: See `link_times`.
        """
        self.socket = context.socket(zmq.ROUTER)
        _configure(self.socket, endpoint, stretch)
        self.socket.router_mandatory = True  # sending to an unknown peer raises an error
        self._authenticated = keys is not None
        self._strangers: Strangers | None = None
        if keys is not None:
            self.socket.curve_server = True
            self.socket.curve_publickey = keys.public
            self.socket.curve_secretkey = keys.secret
            self.socket.zap_domain = b"varsim"
            self.socket.router_handover = True  # a worker may connect again before the old
            # connection has ended
            if port is None:  # others can connect, too
                self._strangers = Strangers(context, self.socket)
        try:
            if port is not None:
                self.socket.setsockopt(zmq.USE_FD, port.for_libzmq())
            self.socket.bind(endpoint)
        except zmq.ZMQError:
            self.close()
            raise
        bound_to = self.socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound_to, bytes)
        self.endpoint = os.fsdecode(bound_to).rstrip("\0")

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """Return the sockets to poll."""
        return (self.socket,) if self._strangers is None else (self.socket, self._strangers.socket)

    def admit_only(self, addresses: Collection[str]) -> None:
        """Accept new connections only from some addresses, if others could connect."""
        if self._strangers is not None:
            self._strangers.admit_only(addresses)

    def send(self, routing_id: bytes, frames: Sequence[Buffer]) -> bool:
        """Send an envelope; return False if no such peer is connected."""
        try:
            self.socket.send(routing_id, _SNDMORE | _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        _send(self.socket, frames, _NOBLOCK)
        return True

    def drain(self) -> list[tuple[bytes, list[Buffer]]]:
        """Return at most `MAX_DRAINED` received envelopes, each with a routing id.

        With keys, an envelope is dropped if its sender uses the routing id of another worker.
        """
        strangers = self._strangers
        if strangers is not None:
            strangers.update()
        try:
            arrived = _drain(self.socket, _NOBLOCK)
        except zmq.Again:
            return []
        envelopes = []
        for first, *rest in arrived:
            routing_id = first.bytes
            if not self._authenticated or _may_use(_user_of(rest), routing_id):
                envelopes.append((routing_id, [_buffer(frame) for frame in rest]))
                if strangers:
                    strangers.recognise(first)
        return envelopes

    def close(self, linger_s: float = 0.0) -> None:
        """Close the socket; `context.term` then waits at most `linger_s` for unsent messages."""
        if self._strangers is not None:
            self._strangers.close()
        self.socket.close(linger=round(linger_s * 1000))


class Dealer:
    """The socket of a worker, connected to the coordinator."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        routing_id: bytes,
        keys: DealerKeys | None = None,
        stretch: float = 1.0,
    ) -> None:
        """Start to connect; the first `send` waits until the connection is made."""
        self.socket = context.socket(zmq.DEALER)
        _configure(self.socket, endpoint, stretch)
        self.socket.routing_id = routing_id
        self.socket.immediate = True
        self.socket.sndtimeo = round(_CONNECT_TIMEOUT_MS * stretch)
        if keys is not None:
            self.socket.curve_serverkey = keys.server_public
            self.socket.curve_publickey = keys.own.public
            self.socket.curve_secretkey = keys.own.secret
        self._endpoint = endpoint
        self.watch = ConnectionWatch(self.socket) if keys is not None else None
        self.connect()

    def connect(self) -> None:
        """Connect; later, libzmq connects again by itself after the end of a connection."""
        self.socket.connect(self._endpoint)

    def disconnect(self) -> None:
        """End the connection. Messages on their way are lost."""
        descriptor = self.descriptor()
        connection = None if descriptor is None else _file_of(descriptor)
        self.socket.disconnect(self._endpoint)
        until_s = time.monotonic() + _DISCONNECT_S
        while connection and _file_of(descriptor) == connection and time.monotonic() < until_s:
            # libzmq ends the connection during calls, and after all messages have been received.
            if self.socket.poll(1):
                self.socket.recv_multipart()
        if self.watch is not None:
            self.watch.forget()

    def descriptor(self) -> int | None:
        """Return the descriptor of the connection; None if there is none, or if it is not TCP."""
        if self.watch is None:
            return None
        self.watch.update()
        return self.watch.descriptor

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send an envelope.

        Raises:
            zmq.Again: There is no connection.
        """
        _send(self.socket, frames, 0)

    def try_send(self, frames: Sequence[Buffer]) -> None:
        """Send an envelope; do nothing if there is no connection."""
        with suppress(zmq.Again):
            _send(self.socket, frames, _NOBLOCK)

    def receive(self, timeout_s: float | None) -> list[list[Buffer]]:
        """Wait for an envelope, and return all that have arrived; [] after `timeout_s`."""
        if timeout_s is not None and not self.socket.poll(timeout_ms(timeout_s)):
            return []
        return [[_buffer(frame) for frame in envelope] for envelope in _drain(self.socket, 0)]

    def close(self, linger_s: float = 0.0) -> None:
        """Close the socket; `context.term` then waits at most `linger_s` for unsent messages."""
        if self.watch is not None:
            self.watch.close()
        self.socket.close(linger=round(linger_s * 1000))


def _file_of(descriptor: int | None) -> tuple[int, int] | None:
    """Return what identifies the file of a descriptor; None if the descriptor is closed."""
    try:
        found = os.fstat(-1 if descriptor is None else descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def timeout_ms(timeout_s: float | None) -> int | None:
    """Return a timeout for `poll`, rounded up, because 0 ms would not wait at all."""
    return None if timeout_s is None else max(0, math.ceil(timeout_s * 1000))


def _configure(socket: zmq.Socket[bytes], endpoint: str, stretch: float) -> None:
    socket.linger = 0  # by default, closing would wait forever for unsent messages
    socket.maxmsgsize = MAX_FRAME_BYTES
    socket.sndhwm = socket.rcvhwm = 0
    socket.handshake_ivl = round(_HANDSHAKE_IVL_MS * stretch)
    if endpoint.startswith("tcp://"):
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle = socket.tcp_keepalive_intvl = 1
        socket.tcp_keepalive_cnt = math.ceil(NOTICED_AFTER_S * stretch)
        socket.tcp_maxrt = round(NOTICED_AFTER_S * stretch * 1000)
        socket.reconnect_ivl = socket.reconnect_ivl_max = _RECONNECT_IVL_MS
        socket.connect_timeout = round(_TRY_CONNECTING_MS * stretch)


def _send(socket: zmq.Socket[bytes], frames: Sequence[Buffer], flags: int) -> None:
    *others, last = frames
    for frame in others:
        copied = len(frame) < COPY_LIMIT_BYTES or _must_copy()
        socket.send(frame, flags | _SNDMORE, copy=copied)
    socket.send(last, flags, copy=len(last) < COPY_LIMIT_BYTES or _must_copy())


@cache
def _must_copy() -> bool:
    """Return whether large frames must be copied, too: pyzmq cannot start its threads."""
    return spare_threads(_FREEING_THREADS) < _FREEING_THREADS


def _drain(socket: zmq.Socket[bytes], flags: int) -> list[list[zmq.Frame]]:
    """Receive the next envelope, and then all others that have arrived, up to `MAX_DRAINED`.

    Reading the events of a socket takes as long as receiving a frame, so the first envelope is
    received without reading the events.

    Args:
        flags: 0 to wait for the first envelope; `_NOBLOCK` to raise `zmq.Again` if there is none.
    """
    envelopes = [_next(socket, flags)]
    while len(envelopes) < MAX_DRAINED and socket.getsockopt(zmq.EVENTS) & _POLLIN:  # type: ignore[operator]
        envelopes.append(_next(socket, flags))
    return envelopes


def _next(socket: zmq.Socket[bytes], flags: int) -> list[zmq.Frame]:
    frame = socket.recv(flags, copy=False)
    envelope = [frame]
    while frame.more:
        frame = socket.recv(flags, copy=False)
        envelope.append(frame)
    return envelope


def _buffer(frame: zmq.Frame) -> Buffer:
    buffer: Any = frame.buffer
    return buffer if len(buffer) >= _VIEW_BYTES else bytes(buffer)


def _may_use(user: bytes | None, routing_id: bytes) -> bool:
    """Return whether the owner of a key has a routing id; "name-*" has all that begin so."""
    if user is not None and user.endswith(b"*"):
        return routing_id.startswith(user[:-1])
    return user == routing_id


def _user_of(frames: Sequence[zmq.Frame]) -> bytes | None:
    try:
        return str(frames[0].get("User-Id")).encode()
    except (IndexError, zmq.ZMQError):
        return None
