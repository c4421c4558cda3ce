"""`digits`: scikit-learn's bundled handwritten digits, real images without a download."""

import numpy as np
import torch

from supcrd.data.images import Contents, Split
from supcrd.data.sized import all_sized
from supcrd.data.sources import Request
from supcrd.data.split import stratified, subset

TEST_FRACTION = 0.2
TEST_SEED = 20240  # a constant: the test split is the same for every seed, recipe and machine


def read() -> Contents:
    """1,797 grey 8 x 8 images of the digits 0 to 9, their 17 levels spread over 0..255.

    Scikit-learn gives no official split. Here a fixed, stratified 20% (359 images) is the test split: figures compare
    with one another, not with those of other divisions.

    Source: E. Alpaydin and C. Kaynak 1998, UCI Optical Recognition of Handwritten Digits, test part.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    whole = Split(torch.from_numpy(pixels), torch.from_numpy(bunch.target.astype(np.int64)))
    train, test = stratified(whole.labels, fraction=TEST_FRACTION, seed=TEST_SEED)
    names = tuple(str(name) for name in bunch.target_names)
    return Contents(names, train=subset(whole, train), test=subset(whole, test))


def source(request: Request) -> Contents:
    """`digits`."""
    return all_sized(read(), request.reading)
