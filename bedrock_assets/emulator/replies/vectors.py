"""Vectors of real models, in the length that a request asks for."""

import math
from collections.abc import Sequence


def fitted(vector: Sequence[float], dimensions: int, normalize: bool) -> str:
    """
    *vector* cut or padded with zeros to *dimensions*, as the inside of a JSON array.

    Zeros leave the cosine of two vectors as it was. What was cut is scaled back to length 1 if *normalize*.
    """
    kept = [*vector[:dimensions], *([0.0] * (dimensions - len(vector)))]
    scale = 1 / (math.hypot(*kept) or 1.0) if normalize else 1.0
    return ",".join(f"{value * scale:.8f}" for value in kept)
