"""What a run says when it goes on after lost workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from varsim.texts.resuming import CalledAgain

AGAIN = CalledAgain(
    lost=(1,),
    where="in step 6",
    incarnation=2,
    num_replicas=3,
    removed=(),
    checkpoint=4,
    is_exact=True,
    last=6,
    missing=(),
)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (4, "no step is repeated"),
        (5, "step 5 is repeated"),
        (7, "steps 5 to 7 are repeated"),
        (None, "the steps after step 4 are repeated"),
    ],
)
def test_the_repeated_steps_are_named(last: int | None, said: str) -> None:
    assert str(replace(AGAIN, last=last)).endswith(f"All variables are restored from it; {said}")


def test_what_a_restored_checkpoint_lacks_is_said() -> None:
    two = replace(AGAIN, lost=(0, 2), removed=(0, 2), num_replicas=1, is_exact=False)

    assert (
        "replicas 0, 2 were lost in step 6: the workload is called again in incarnation 2 with 1 "
        "replica, numbered from 0, and continues from its checkpoint after step 4. All variables "
        "are restored from it, with one value for each variable, for fewer replicas (what "
        "synchronizations keep beside them, such as LocalSGD's number of writes, begins anew); "
        "steps 5 to 6 are repeated"
    ) == str(two)
    assert str(replace(AGAIN, lost=())).startswith("workers were lost in step 6: the workload")
