"""The kinds of the events in a history, and what the columns of each kind mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OWN: Final = "own"
"""The operation of a read by the program of one of several workers, of its own component only."""

KINDS: Final[Mapping[str, str]] = {
    "create": "the program creates a variable, with the value of every component (version 0)",
    "forget": "the program dropped a variable",
    "call": "the program calls a function on all replicas. If some have joined, the replicas 0 to "
    "`present` - 1 take part. Calls are numbered over all incarnations of a strategy; a "
    "number from 4294967296 on is a call of varsim itself, for a checkpoint",
    "begin": "a replica begins a call; caused by `call`. If the arguments have rows on some "
    "replicas only, `note` says how many rows this replica has: `0 of 9 rows`",
    "write": "a write (assign, assign_add, assign_sub, scatter_add, …), before it takes effect. "
    "`position` is set for a contribution to a merge. Any other write is a local write to the "
    "component of `replica`, or a write by the program (to all components if `replica` is NULL)",
    "compress": "a replica writes a variable whose contributions are compressed; `value` is the "
    "written value. The replica's next `write` event of the variable has the value that it sends, "
    "as the program restores it",
    "commit": "the program's process commits a write: the variable (or only the component of "
    "`replica`, if `replica` is set) gets this `version`. `value` is the operand of `operation`. "
    "For a merge, `operation` is assign, and `value` is the new value. For a merge of sparse "
    "writes, `operation` is that of the writes, and `value` has the rows of all replicas, divided "
    "by N for MEAN. If the program has written single components, so that their versions differ, a "
    "merge has one commit for each component",
    "install": "a replica applies a commit to its component; caused by `commit`",
    "read": "a read. The program reads the cross-replica value, or the component of `replica` if "
    "`replica` is set; `times` counts equal reads in a row. The operation own "
    "is a read by the program of one of several workers, outside `run`, of its own component only",
    "component": "a replica sends its component to the program; caused by the program's `fetch`",
    "fetch": "the program asks a replica (`replica`) for its component",
    "wait": "a replica waits for the commit of its write to `variable`",
    "arrive": "a replica arrives at a collective other than a write (`operation` is merge_call, or "
    "a method that combines values, such as all_reduce; `note` is the collective's name, if it has "
    "one, or `strategy.reduce` or `strategy.gather`), or makes a request to the program "
    "(host_call). With the operation cross_replica, the programs of all workers of a "
    "MultiWorkerMirroredStrategy perform an operation together, and `note` says which: "
    "`read of variable 'v'`. With the operation join, the replica gives no values from `position` "
    "on, until the answer joined",
    "give": "after `arrive`: an array that the replica gives to the collective at `position`; one "
    "event for each array. `note` has the arguments as JSON: op, axis, root, exclusive, weight",
    "request": "a replica waits for other replicas in an operation without a position: `operation` "
    "is lock, read_lock, barrier, send or recv, and `note` is the name of the lock or of the "
    "barrier, or the number of the other replica",
    "release": "a replica releases the lock `note`. The end of its function releases all its locks",
    "answer": "the program answers a collective, a host call, a `request` or an `ask`; `operation` "
    "is reduced, merged, joined (`note` is the replica that took part in most collectives), "
    "host_result, granted (a lock, a barrier or a send), passed (a recv), shared (a pull or a "
    "fetch) or copy (an `ask` or `advance` of bounded staleness)",
    "result": "after `answer`: an array of the result that `replica` gets from the collective at "
    "`position`; one event for each array",
    "take": "the program gets a number, or a small array of numbers, outside variables: "
    "`operation` is run (what the function of `replica` returned), reduce or gather, and `note` is "
    "the number of the value in the result, from 0",
    "sync": "a replica or the program synchronises a variable: `operation` is sync_sum, sync_mean "
    "and so on, or broadcast of the component of `replica`. `value` is the replica's component; "
    "the replica's next event is its arrival at `position`; or the value that the program then "
    "writes",
    "publish": "a replica publishes its component; `value` is the component",
    "push": "a process adds `value` to the authoritative copy of a variable. The push of a replica "
    "takes effect when the program receives it",
    "advance": "a replica changes the copy of a variable with bounded staleness by `value`. "
    "`version` is its number of writes to the variable in this call. `note` is `waits` if the "
    "replica waits for the copy. The write takes effect when the program receives it, or when no "
    "running replica is more than s writes behind",
    "renew": "a replica replaces its cache of such a copy; caused by the `answer` to an `advance` "
    "that waits, or to an `ask`. `version` counts the changes of the copy",
    "carry": "a new incarnation takes over a value that an earlier one has shared: the published "
    "component of `replica`, or the authoritative copy if `replica` is NULL",
    "state": "the program replaces what the policy keeps beside the component of `replica`, as at "
    "a restart or when a checkpoint is restored. `note` has the arrays as JSON: their values if "
    "they have no dimensions, else dtype and shape. `value` is the first array that has the form "
    "of the variable",
    "ask": "a replica asks for the authoritative copy (`operation` is pull), for the published "
    "component of `replica` (`operation` is fetch), or for the copy of a variable with bounded "
    "staleness (`operation` is copy)",
    "obtain": "a process has the value of a pull or a fetch. `version` counts the pushes in the "
    "copy, or the publications of the component; `note` is the age of the value in seconds",
    "notice": "a process noticed a use of the program's objects that may be wrong. `operation` is "
    "discarded (a replica, or the program, did not use the result of a collective at `location`), "
    "changed (a replica changed its own copy of an object of the program, or the object itself if "
    "replicas share it), plain (the program reads or writes, for `replica`, a variable that was "
    "created outside the scope), not_finite (replicas gave NaN or infinity to merge_call or "
    "strategy.reduce) or overflow (the result of strategy.reduce exceeds the range of the dtype). "
    "`note` has the details as JSON: method and given_at, the line of the collective; kind, "
    "name, named_at, the line where a function names the object, and used_at, the line where the "
    "program uses a shared object; variable, created_at and operation; operation, replicas and "
    "what (NaN or infinity); or op, dtype, exact and got. A plain notice has the value "
    "after the operation as `value`",
    "receive": "the program receives a message of a replica; caused by the replica's last event "
    "before this message",
    "return": "a replica's function has returned",
    "raise": "a replica's function has raised `error` at `location`; `note` is the error's text",
    "abort": "the program aborts a call; `note` says why",
    "finish": "the program has the results of a call, or the call's `error` (`note` is the error's "
    "text)",
    "lost": "a worker process has ended; `note` says how",
}

WITH_VALUES: Final = frozenset(
    {
        "advance", "carry", "commit", "component", "compress", "create", "give", "obtain",
        "publish", "push", "read", "renew", "result", "sync", "write",
    }
)  # fmt: skip
"""The kinds of events that always have a value."""
