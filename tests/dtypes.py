"""The dtypes of variables that tests cover, with those of `ml_dtypes` if it is installed.

The lock files contain `ml_dtypes`, so `make test` covers all dtypes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import EXTENSION_SIZES, NUMPY_DTYPES, named

HAS_ML_DTYPES: Final = find_spec("ml_dtypes") is not None

DTYPES: Final[tuple[np.dtype[Any], ...]] = (
    *NUMPY_DTYPES,
    *(map(named, EXTENSION_SIZES) if HAS_ML_DTYPES else ()),
)
