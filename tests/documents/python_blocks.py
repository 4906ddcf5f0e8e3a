"""How each block of Python in the documents is run: what stands before and after it, and by what.

The documents leave out lines that readers know, such as imports. The pages that
`docs.transcripts` runs, and blocks of `pycon`, which are doctests, are not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from docs.generate import ROOT, documents
from docs.transcripts import documents as run_as_a_whole

By = Literal["varsim run", "varsim exec --spmd", "python", "another test", "nothing"]

READMES: Final = ("workers/README.md", "varsim/workloads/data/README.md", "configs/README.md")


@dataclass(frozen=True)
class Block:
    """A block of Python in a document."""

    document: str  # its path in the repository
    line: int  # of its first line, from 1
    code: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Way:
    """How to run a block; `start` is how its code begins."""

    document: str
    start: str
    by: By
    before: str = ""
    after: str = ""
    options: tuple[str, ...] = ()
    reason: str = ""  # if it is not run here


IMPORTS: Final = "import numpy as np\nimport varsim as tf\n"
_STRATEGY: Final = IMPORTS + 'strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])\n'

WAYS: Final = (
    Way(
        "docs/checkpoints.md",
        "def run(job",
        "varsim run",
        IMPORTS,
        options=("steps=3",),
    ),
    Way(
        "docs/checkpoints.md",
        "def batches",
        "varsim run",
        IMPORTS
        + """X, Y = np.zeros((64, 2)), np.zeros(64)


def step(x, y):
    assert len(x) == len(y)
""",
        options=("steps=3",),
    ),
    Way("docs/cli.md", '"""What', "varsim run"),
    Way(
        "docs/locks.md",
        "context =",
        "varsim exec --spmd",
        IMPORTS + "x = 1.0\n\n\ndef append_to_log(_):\n    pass\n\n\n",
    ),
    Way(
        "docs/locks.md",
        "for entry",
        "python",
        _STRATEGY
        + """
def step():
    with tf.distribute.get_replica_context().lock("log"):
        pass

strategy.run(step)
assert 2 == len(strategy.lock_statistics())
""",
        "strategy.close()\n",
    ),
    Way(
        "docs/manual.md",
        "def step(rows)",
        "python",
        _STRATEGY
        + """
def gradient(weights, rows):
    return weights - rows

with strategy.scope():
    v = tf.Variable(1.0, synchronization=tf.VariableSynchronization.NONE)
""",
        """
strategy.run(step, args=(0.0,))
print(v.pull().value)
strategy.close()
""",
    ),
    Way(
        "docs/notebooks.md",
        "import varsim as tf\n\nstrategy",
        "python",
        after='assert "ON_READ, SUM" in total._repr_html_()\nstrategy.close()\n',
    ),
    Way(
        "docs/notebooks.md",
        "import varsim as tf\n\ntf.run_experiment",
        "python",
        after='assert ["mode"] == comparison.keys\n',
    ),
    Way(
        "docs/parameter_servers.md",
        "from varsim.tracing",
        "python",
        IMPORTS,
        "strategy.close()\n",
    ),
    Way("docs/python.md", "from itertools", "python"),
    Way("docs/python.md", "import numpy", "varsim run"),
    Way("docs/spmd.md", "import numpy", "varsim exec --spmd"),
    Way(
        "docs/spmd.md",
        "for batch in batches:\n    w",
        "varsim exec --spmd",
        """import numpy as np
import varsim.horovod as hvd

hvd.init()
w = np.zeros(2)
batches = [1.0] * (1 + hvd.rank())


def gradient(w, batch):
    return w - batch
""",
        "assert last == 1\n",
    ),
    Way("docs/testing.md", "import numpy", "another test", reason="tests/plugin runs it by pytest"),
    Way("workers/README.md", "# my_module.py", "another test", reason="the next block imports it"),
    Way(
        "workers/README.md",
        "from varsim.launch.backends",
        "python",
    ),
    Way(
        "varsim/workloads/data/README.md",
        "import gzip",
        "nothing",
        reason="it needs a file of scikit-learn's sources",
    ),
)


def blocks() -> list[Block]:
    """Return all blocks that must be in WAYS, except generated ones, which are made by a run."""
    found: list[Block] = []
    whole = run_as_a_whole()
    for path in [*documents(), *(ROOT / name for name in READMES)]:
        name = path.relative_to(ROOT).as_posix()
        if path in whole or name in ("docs/errors.md", "CONTRIBUTING.md"):
            continue  # docs.error_page runs its programs; CONTRIBUTING.md quotes the code
        text = path.read_text("utf-8")
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(Block(name, line, match[1]))
    return found


def ways_of(block: Block) -> list[Way]:
    """Return the entries of WAYS for a block; there must be exactly one."""
    return [
        way for way in WAYS if way.document == block.document and block.code.startswith(way.start)
    ]


def written(block: Block, way: Way, folder: Path) -> Path:
    """Write the whole program of a block into a folder."""
    file = folder / "my_program.py"
    file.write_text(way.before + "\n\n" * bool(way.before) + block.code + way.after, "utf-8")
    for other in blocks():
        if other.document == block.document and other.code.startswith("# my_module.py"):
            (folder / "my_module.py").write_text(other.code, "utf-8")
    return file
