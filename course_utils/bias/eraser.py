"""A linear eraser: one affine map on a model's vectors, and what must be known to trust it.

However it was found, an eraser is x -> matrix x + bias, so that it can be looked at, turned down,
saved, and built into a model as an ordinary layer. It also remembers the words it was fitted on,
because what an eraser does to those says little about any others.
"""

from __future__ import annotations

import copy
import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.files import refuse_foreign, restored, whole_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_FORMAT = "course-utils linear eraser 1"
_WEIGHTS, _FACTS = "eraser.safetensors", "eraser.json"


@dataclass(frozen=True, eq=False, repr=False)
class LinearEraser:
    """An affine map x -> ``matrix`` x + ``bias`` that takes a concept out of vectors.

    ``matrix`` has shape (d, d), ``bias`` (d,); both become read-only float64 arrays. ``method``
    says how it was found, ``details`` what happened on the way (plain values). ``fitted_on`` holds
    the fingerprints of the words it was fitted on, see ``check_unseen``. ``strength`` runs from 0,
    the identity, to 1, the whole map; see ``at``.

    It belongs to the model whose vectors it was fitted on; vectors of another model that happen to
    have d dimensions too would be spoilt without an error.

    Raises ``ValueError`` for another shape, NaN, or a strength outside 0 to 1.

    >>> eraser = LinearEraser.removing([[1.0, 0.0]])
    >>> eraser.transform([[0.6, 0.8]]).tolist()
    [[0.0, 1.0]]
    """

    matrix: np.ndarray
    bias: np.ndarray
    method: str = "given"
    fitted_on: frozenset[str] = frozenset()
    strength: float = 1.0
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        matrix, bias = (np.array(part, dtype=np.float64) for part in (self.matrix, self.bias))
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or bias.shape != matrix.shape[:1]:
            raise ValueError(
                f"matrix has shape {matrix.shape} and bias {bias.shape}. Give (d, d) and (d,)."
            )
        if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
            raise ValueError("matrix or bias holds NaN or an infinity. Fit the eraser again.")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength is {self.strength}. Give 0 (nothing) to 1 (everything).")
        for name, array in (("matrix", matrix), ("bias", bias)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "fitted_on", frozenset(self.fitted_on))

    @classmethod
    def removing(
        cls, directions: ArrayLike, *, mean: ArrayLike | None = None, **about: Any
    ) -> LinearEraser:
        """Return the eraser x -> x - P(x - mean), P the projection onto the ``directions`` (k, d).

        They need not be orthogonal; ``mean`` (d,) is the origin unless given. What lies along the
        directions becomes what the mean has there. ``about``: ``method``, ``fitted_on``,
        ``details``.
        """
        directions = np.array(directions, dtype=np.float64)
        basis = orthonormal(directions)
        projection = basis.T @ basis
        mean = np.zeros(len(projection)) if mean is None else np.asarray(mean, dtype=np.float64)
        return cls(np.eye(len(projection)) - projection, projection @ mean, **about)

    def __repr__(self) -> str:
        return (
            f"LinearEraser({self.method!r}: rank {self.rank} of {self.dimensions}, strength "
            f"{self.strength:g}, fitted on {len(self.fitted_on)} texts)"
        )

    @property
    def dimensions(self) -> int:
        """Return the number of dimensions d of the vectors it takes."""
        return len(self.bias)

    @property
    def directions(self) -> np.ndarray:
        """Return the directions it looks at in order to erase: orthonormal rows (rank, d)."""
        return orthonormal(np.eye(self.dimensions) - self.matrix)

    @property
    def rank(self) -> int:
        """Return how many directions the whole map changes: the rank of identity - matrix."""
        return len(self.directions)

    def at(self, strength: float) -> LinearEraser:
        """Return this eraser at another strength: (1 - strength) x + strength (matrix x + bias)."""
        return replace(self, strength=float(strength))

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the map at its strength: float64 arrays (d, d) and (d,)."""
        matrix = self.strength * self.matrix + (1 - self.strength) * np.eye(self.dimensions)
        return matrix, self.strength * self.bias

    def transform(self, matrix: ArrayLike, *, normalize_embeddings: bool = True) -> np.ndarray:
        """Return the vectors ``matrix`` (n, d) with the concept erased, float32.

        Rows are scaled to length 1 again, as ``encode`` gives them, unless ``normalize_embeddings``
        is False; a row of which nothing is left stays zero. On ``encode(model, texts)`` this is
        what ``encode(eraser.attach(model), texts)`` gives.

        Raises ``ValueError`` for NaN and for another number of dimensions than the eraser's.
        """
        vectors = finite_matrix(matrix, "matrix")
        self._check_dimensions(vectors.shape[1], "The vectors have")
        weight, bias = self.affine()
        erased = vectors @ weight.T + bias
        if normalize_embeddings:
            lengths = np.linalg.norm(erased, axis=1, keepdims=True)
            # What float32 vectors leave behind by rounding is no direction to blow up to length 1.
            erased = np.where(lengths > 1e-6, erased / np.maximum(lengths, 1e-6), 0.0)
        return erased.astype(np.float32)

    def check_unseen(self, texts: Iterable[str]) -> None:
        """Raise ``ValueError`` if the eraser was fitted on one of ``texts``, or does not know.

        Give the words themselves, not the sentences that they were put into: another sentence
        around a fitted word makes no unseen one. Capitals and spaces around do not count.
        """
        if not self.fitted_on:
            raise ValueError(
                "This eraser does not know what it was fitted on, so nothing can be judged by it. "
                "Fit it with texts=, one word for each row."
            )
        seen = [text for text in dict.fromkeys(texts) if text_fingerprint(text) in self.fitted_on]
        if seen:
            named = ", ".join(repr(text) for text in seen[:5])
            raise ValueError(
                f"The eraser was fitted on {named}{' and others' if len(seen) > 5 else ''} "
                f"({len(seen)} of these texts). Judge it on words that it has not seen."
            )

    def attach(self, model: SentenceTransformer) -> SentenceTransformer:
        """Return a new SentenceTransformer that ends in this eraser; ``model`` stays as it is.

        A ``Dense`` layer with the map, and a ``Normalize``, are put after a copy of its modules
        (after a ``Normalize``, if it had none). These are the library's own: ``save_pretrained``
        writes one ordinary folder, which loads on a machine that has never heard of this course.

        Raises ``TypeError`` for what is no SentenceTransformer, and ``ValueError`` for vectors of
        other length and for a model that cuts its vectors off afterwards (``truncate_dim``).
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Dense, Normalize

        if not isinstance(model, SentenceTransformer):
            raise TypeError(
                f"model is a {type(model).__name__}. An eraser can be built into a "
                "SentenceTransformer only; wrap others: as_embedder(lambda texts: "
                "eraser.transform(encode(model, texts)))."
            )
        if model.truncate_dim is not None:
            raise ValueError(
                f"The model cuts its vectors to {model.truncate_dim} dimensions after its last "
                "module. Set model.truncate_dim = None, fit on the whole vectors, attach, and cut "
                "afterwards."
            )
        modules = list(model)
        size = next(
            (n for n in map(_output_size, reversed(modules)) if n is not None), self.dimensions
        )
        self._check_dimensions(size, "The model's vectors have")
        weight, bias = (torch.from_numpy(part).float() for part in self.affine())
        layer = Dense(
            self.dimensions,
            self.dimensions,
            activation_function=torch.nn.Identity(),
            init_weight=weight,
            init_bias=bias,
        ).to(model.device, next(model.parameters()).dtype)
        new = copy.deepcopy(model)
        added = [layer, Normalize()]
        if not isinstance(modules[-1], Normalize):
            added.insert(0, Normalize())
        for module in added:
            new.add_module(str(len(new)), module.train(model.training))
        return new

    def save(self, folder: str | Path) -> Path:
        """Write the eraser to a folder (safetensors and JSON); return its path.

        The folder appears whole or not at all; an eraser that is there already is replaced, and
        still there if anything fails. Raises ``FileExistsError`` for a file, and for a folder that
        holds something else.
        """
        from safetensors.numpy import save

        folder = refuse_foreign(folder, _FACTS, "eraser")
        facts = {
            "format": _FORMAT,
            "method": self.method,
            "strength": self.strength,
            "fitted_on": sorted(self.fitted_on),
            "details": self.details,
        }
        with whole_folder(folder) as fresh:
            (fresh / _WEIGHTS).write_bytes(save({"matrix": self.matrix, "bias": self.bias}))
            (fresh / _FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1), "utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> LinearEraser:
        """Return the eraser that ``save`` wrote; no code is run.

        Raises ``FileNotFoundError`` where there is none, ``ValueError`` for another format.
        """
        from safetensors.numpy import load_file

        folder = restored(folder)
        if not (folder / _FACTS).is_file() or not (folder / _WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder} holds no eraser ({_WEIGHTS} and {_FACTS}). Name the folder that "
                "LinearEraser.save wrote."
            )
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        if not isinstance(facts, dict) or facts.pop("format", None) != _FORMAT:
            raise ValueError(f"{folder / _FACTS} is not in the format {_FORMAT!r}. Save it again.")
        tensors = load_file(folder / _WEIGHTS)
        return cls(tensors["matrix"], tensors["bias"], **facts)

    def _check_dimensions(self, found, what):
        if found != self.dimensions:
            raise ValueError(
                f"{what} {found} dimensions, the eraser {self.dimensions}. Use it with the model "
                "that it was fitted on."
            )


def orthonormal(directions: ArrayLike) -> np.ndarray:
    """Return an orthonormal basis (k, d) of the space that rows span; k is their rank."""
    directions = np.atleast_2d(directions)
    _, sizes, rows = np.linalg.svd(directions, full_matrices=False)
    return rows[sizes > 1e-9 * max(1.0, sizes[0])]


def text_fingerprint(text: str) -> str:
    """Return what ``LinearEraser.fitted_on`` keeps of a text: a hash, blind to case, outer space.

    >>> text_fingerprint(" She ") == text_fingerprint("she")
    True
    """
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def fingerprints(texts: Iterable[str] | None, rows: int) -> frozenset[str]:
    """Return the fingerprints of ``texts``, one for each of ``rows`` rows, or none for None."""
    if texts is None:
        return frozenset()
    texts = list(texts)
    if len(texts) != rows:
        raise ValueError(
            f"texts holds {len(texts)} for {rows} rows. Give the word that each row stands for."
        )
    return frozenset(map(text_fingerprint, texts))


def _output_size(module):
    for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
        if callable(getattr(module, name, None)):
            return getattr(module, name)()
    return None
