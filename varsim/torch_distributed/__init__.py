"""The functions of `torch.distributed` on NumPy arrays: `import varsim.torch_distributed as dist`.

Every function is a collective of the replica's context, so ranks that call different functions, or
pass different shapes or dtypes, get an error that names the ranks and their lines. Torch has such
checks only with TORCH_DISTRIBUTED_DEBUG=DETAIL. Functions with a result change their arrays in
place, as in torch. docs/spmd.md lists what differs.
"""

from __future__ import annotations

from typing import Any, Final

import varsim.distribute  # noqa: F401  # the default strategy has the only rank of a plain program
from varsim.torch_distributed.collectives import (
    all_gather,
    all_gather_into_tensor,
    all_gather_single,
    all_reduce,
    all_to_all,
    all_to_all_single,
    broadcast,
    gather,
    reduce,
    reduce_scatter,
    reduce_scatter_single,
    reduce_scatter_tensor,
    scatter,
)
from varsim.torch_distributed.groups import (
    GroupMember,
    ProcessGroup,
    ReduceOp,
    Work,
    destroy_process_group,
    get_backend,
    get_global_rank,
    get_group_rank,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_initialized,
    new_group,
)
from varsim.torch_distributed.messages import (
    barrier,
    monitored_barrier,
    recv,
    send,
)
from varsim.torch_distributed.objects import (
    all_gather_object,
    broadcast_object_list,
    gather_object,
    scatter_object_list,
)

__all__ = [
    "GroupMember",
    "ProcessGroup",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_gather_single",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "is_available",
    "is_initialized",
    "monitored_barrier",
    "new_group",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
]


_INSTEAD: Final = {
    **dict.fromkeys(
        ("isend", "irecv", "batch_isend_irecv", "P2POp"),
        "use dist.send and dist.recv in an order that all ranks can follow, or dist.all_to_all",
    ),
    **dict.fromkeys(
        ("TCPStore", "FileStore", "HashStore", "Store"),
        "the ranks are connected already; use dist.broadcast_object_list for values",
    ),
}


def __getattr__(name: str) -> Any:
    instead = _INSTEAD.get(name, "docs/spmd.md lists the functions")
    raise AttributeError(f"varsim.torch_distributed has no {name}: {instead}")
