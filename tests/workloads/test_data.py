"""The README beside the data file names the file's checksums, source and licence."""

from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np

from varsim.workloads.data import load_digits

FOLDER = resources.files("varsim.workloads.data")


def test_the_file_is_the_one_that_the_readme_describes() -> None:
    """README.md has the checksum of the file and the checksum of its content."""
    packed = (FOLDER / "digits.npz").read_bytes()
    with (FOLDER / "digits.npz").open("rb") as file, np.load(file) as arrays:
        unpacked = arrays["images"].tobytes() + arrays["labels"].tobytes()
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert 45_395 == len(packed)
    assert hashlib.sha256(packed).hexdigest() in readme
    assert hashlib.sha256(unpacked).hexdigest() in readme


def test_the_readme_names_source_and_licence() -> None:
    """The licence requires these names from everyone who redistributes the file."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")

    for words in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0"):
        assert words in readme


def test_loaded_images_are_split_in_order_and_scaled() -> None:
    """1,437 images train, 360 test; grey levels 0..16 become 0..1 in float32."""
    (images, labels), (test_images, test_labels) = load_digits()

    assert ((1437, 64), (1437,), (360, 64), (360,)) == (
        images.shape,
        labels.shape,
        test_images.shape,
        test_labels.shape,
    )
    assert {"float32"} == {str(array.dtype) for array in (images, test_images)}
    assert (0.0, 1.0) == (float(images.min()), float(images.max()))
    assert 561_718 == 16 * float(images.sum(dtype=np.float64) + test_images.sum(dtype=np.float64))
    assert [178, 182, 177, 183, 181, 182, 181, 179, 174, 180] == np.bincount(
        np.concatenate([labels, test_labels])
    ).tolist()
    assert [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] == labels[:10].tolist()
