"""The data that ships with varsim, in files beside this module; README.md names their sources."""

from __future__ import annotations

from importlib import resources

import numpy as np

TRAINING_IMAGES = 1437
"""Number of images for training: the first ones of the file. The last 360 are for testing."""

Images = tuple[np.ndarray, np.ndarray]
"""Images, (n, 64) float32 from 0 to 1, and their labels, (n,) int64 from 0 to 9."""


def load_digits() -> tuple[Images, Images]:
    """Return the UCI handwritten digits: a training set and a test set."""
    with (resources.files(__name__) / "digits.npz").open("rb") as file, np.load(file) as arrays:
        images = (arrays["images"] / 16).astype(np.float32)
        labels = arrays["labels"].astype(np.int64)
    train = images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES]
    return train, (images[TRAINING_IMAGES:], labels[TRAINING_IMAGES:])
