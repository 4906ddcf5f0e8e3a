"""Provide the collectives of torch.distributed for Python objects."""

from __future__ import annotations

from typing import Any

from varsim.distribute.ranks import (
    gathered_objects,
    object_of_root,
)
from varsim.torch_distributed.groups import ProcessGroup
from varsim.torch_distributed.operation import here_in


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Write the object of each rank into the list, on every rank."""
    here = here_in("all_gather_object", group)
    if here is not None:
        here.listed(object_list, "object_list")
        object_list[:] = gathered_objects(here.context, here.members, obj, here.what)


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int = 0,
    group: ProcessGroup | None = None,
) -> None:
    """Write the object of each rank into the list of rank `dst`."""
    here = here_in("gather_object", group)
    if here is not None:
        here.only_on(dst, object_gather_list, "object_gather_list", "dst")
        name = f"{here.what}(dst={dst})"
        found = gathered_objects(here.context, here.members, obj, name)
        if here.rank == dst:
            here.listed(object_gather_list, "object_gather_list")
            assert object_gather_list is not None, "see `listed`"
            object_gather_list[:] = found


def broadcast_object_list(
    object_list: list[Any],
    src: int = 0,
    group: ProcessGroup | None = None,
    device: object = None,
) -> None:
    """Replace the objects of the list by those of rank `src`, on every rank."""
    here = here_in("broadcast_object_list", group)
    if here is not None:
        here.members.index(src, "src")
        name = f"{here.what}(src={src}) of {len(object_list)}"
        object_list[:] = object_of_root(here.context, here.members, list(object_list), src, name)


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int = 0,
    group: ProcessGroup | None = None,
) -> None:
    """Write the object in the list of rank `src` that is for this rank into the output's item 0."""
    here = here_in("scatter_object_list", group)
    if here is not None:
        given = scatter_object_input_list
        here.members.index(src, "src")
        objects = here.listed(given, "scatter_object_input_list") if here.rank == src else None
        name = f"{here.what}(src={src})"
        everything = object_of_root(here.context, here.members, objects, src, name)
        scatter_object_output_list[0] = everything[here.members.ranks.index(here.rank)]
