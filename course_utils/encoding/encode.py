"""Text in, float32 matrix out; never the same text twice.

The vectors are those of ``SentenceTransformer.encode``, ``encode_query`` and ``encode_document``.
What is added: texts are tokenised once and go through the model in batches of like length, so that
little is spent on padding; a text over the model's limit is reported instead of silently cut;
duplicates are encoded once; and a cache, keyed by a fingerprint of the model, remembers.
"""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from course_utils.encoding.batches import on_their_way
from course_utils.encoding.embedders import AnyEmbedder, dimension, embedder_of
from course_utils.encoding.progress import progress_bar
from course_utils.models.fingerprints import fingerprint
from course_utils.models.roles import Role, is_sentence_transformer

if TYPE_CHECKING:
    from typing import Unpack

    from course_utils.encoding.cache import EmbeddingCache

__all__ = ["encode", "encode_document", "encode_query"]

LONG_WORK_SECONDS = 2.0  # a progress bar before that would only flicker


class Options(TypedDict, total=False):
    """The options of ``encode``, which explains them."""

    batch_size: int
    normalize_embeddings: bool
    prompt: str | None
    prompt_name: str | None
    on_long: Literal["warn", "chunk", "error"]
    cache: "EmbeddingCache | None"
    device: str | None
    show_progress_bar: bool | None


def encode(
    model: AnyEmbedder,
    texts: Sequence[str],
    *,
    batch_size: int = 32,
    normalize_embeddings: bool = True,
    prompt: str | None = None,
    prompt_name: str | None = None,
    on_long: Literal["warn", "chunk", "error"] = "warn",
    cache: "EmbeddingCache | None" = None,
    device: str | None = None,
    show_progress_bar: bool | None = None,
) -> np.ndarray:
    """Return one vector per text, as the rows of a float32 matrix (n, d).

    For texts that are compared with their like: pairs of sentences, groups. Where one side asks and
    the other answers, use ``encode_query`` and ``encode_document``.

    ``model`` is a SentenceTransformer (or a result of training, which carries one), or any
    *embedder*: an object with ``encode(list[str]) -> (n, d)``, or a function of that form. ``texts``
    is a list (or another sequence) of n strings; the empty string is a text like any other. No texts
    give a matrix of shape (0, d), with d = 0 for an embedder that does not tell its ``dimension``.

    - ``batch_size``: a batch holds this many texts of 64 tokens, more of shorter ones, fewer of
      longer ones, so that memory is the same for every batch. An embedder gets this many texts.
    - ``normalize_embeddings``: rows of length 1, so that a dot product is a cosine.
    - ``prompt``: words put before every text; ``prompt_name``: the name of such words in
      ``model.prompts``. With neither, the model's own ``default_prompt_name`` decides, if it has
      one; with both, ``prompt`` does.
    - ``on_long``: what happens to texts of more tokens than ``model.max_seq_length``. ``"warn"``
      cuts them off and says once how many there were; ``"chunk"`` encodes overlapping windows of at
      most that many tokens and returns their mean, weighted by tokens; ``"error"`` refuses.
    - ``cache``: an ``EmbeddingCache``; only texts that it does not know are encoded, and each batch
      is kept as soon as it is done.
    - ``device``: where to compute (``"cuda"``, ``"mps"``, ``"cpu"``); ``None`` means where the model
      is. Afterwards the model is where it was, and in training mode if it was.
    - ``show_progress_bar``: ``None`` shows one when the work takes longer than two seconds.

    Each distinct text is encoded once, whatever its number. A GPU that runs out of memory gets the
    batch again in halves. Beside the result there is never a second matrix of vectors.

    Raises ``TypeError`` for a single string, and for an entry that is no string (``None``, NaN, a
    number), by its index; ``ValueError`` for text that is not valid Unicode, for an option with an
    unknown value, a prompt's name that the model does not have, long texts under
    ``on_long="error"``, ``cache=`` with an embedder that has no fingerprint, and for vectors that
    hold NaN or have the wrong shape.

    Window pooling keeps a document's vector the token-weighted mean of its parts; see Reimers and
    Gurevych (2019), section 3, for the mean over tokens that it extends.

    >>> def letters(texts):
    ...     return [[text.count("a"), text.count("b")] for text in texts]
    >>> encode(letters, ["abb", "b", "abb"], normalize_embeddings=False)
    array([[1., 2.],
           [0., 1.],
           [1., 2.]], dtype=float32)
    """
    return _encode(
        model, texts, None, batch_size, normalize_embeddings, prompt, prompt_name, on_long, cache,
        device, show_progress_bar,
    )  # fmt: skip


def encode_query(
    model: AnyEmbedder, queries: Sequence[str], **options: "Unpack[Options]"
) -> np.ndarray:
    """Return one vector per query, to be compared with those of ``encode_document``: (n, d) float32.

    As ``SentenceTransformer.encode_query``: without ``prompt`` and ``prompt_name`` the model's prompt
    ``"query"`` goes before each text, where it has one, and a model with routes takes that of
    queries. An embedder of one's own is asked for its ``encode_query``, and for ``encode`` where it
    has none. A model that knows no roles gives the vectors of ``encode``.

    ``options`` and errors are those of ``encode``.
    """
    return _in_role("query", model, queries, options)


def encode_document(
    model: AnyEmbedder, documents: Sequence[str], **options: "Unpack[Options]"
) -> np.ndarray:
    """Return one vector per document, to be searched by those of ``encode_query``: (n, d) float32.

    As ``SentenceTransformer.encode_document``: without ``prompt`` and ``prompt_name`` the first of
    the model's prompts ``"document"``, ``"passage"`` and ``"corpus"`` goes before each text, where
    it has one, and a model with routes takes that of documents. An embedder of one's own is asked
    for its ``encode_document``, and for ``encode`` where it has none.

    ``options`` and errors are those of ``encode``.
    """
    return _in_role("document", model, documents, options)


def _in_role(role, model, texts, options):
    unknown = [name for name in options if name not in Options.__annotations__]
    if unknown:
        raise TypeError(f"encode_{role} has no option {unknown[0]!r}; it has those of encode.")
    usual = {
        "batch_size": 32, "normalize_embeddings": True, "prompt": None, "prompt_name": None,
        "on_long": "warn", "cache": None, "device": None, "show_progress_bar": None,
    }  # fmt: skip
    return _encode(model, texts, role, **usual | options)


def _encode(
    model, texts, role: Role | None, batch_size, normalize_embeddings, prompt, prompt_name, on_long,
    cache, device, show_progress_bar,
):  # fmt: skip
    model = embedder_of(model)
    if show_progress_bar is None:
        show_progress_bar = getattr(model, "show_progress_bar", None)
    texts = _checked(texts)
    _check_options(batch_size, on_long, cache)
    first = _first_of_equals(texts)
    rows = np.flatnonzero(first == np.arange(len(texts)))  # one for each distinct text
    unique = texts if len(rows) == len(texts) else [texts[row] for row in rows]

    key = None
    if cache is not None:
        key = fingerprint(
            model,
            role=role,
            normalize_embeddings=normalize_embeddings,
            prompt=prompt,
            prompt_name=prompt_name,
            on_long=on_long,
        )
    matrix: Any = None if texts else np.zeros((0, dimension(model) or 0), dtype=np.float32)
    tokens = np.zeros(len(texts), dtype=np.int64)
    known = np.zeros(len(unique), dtype=bool)
    for found in cache.lookup(key, unique) if cache is not None else ():
        for index, vector, count in found:
            matrix = _room(matrix, len(texts), len(vector))
            matrix[rows[index]] = vector
            tokens[rows[index]], known[index] = count, True
    todo = rows[~known]
    waiting = texts if len(todo) == len(texts) else [texts[row] for row in todo]
    encoder = on_their_way(model, waiting, role, prompt, prompt_name, on_long, batch_size)
    tokens[todo] = encoder.tokens
    _report_long(tokens[first], encoder.limit, on_long)

    where = device if len(todo) else None
    with _ready(model, where), _progress(len(todo), show_progress_bar) as advance:
        for done, vectors in encoder.batches():
            done = todo[done]
            vectors = _as_vectors(vectors, done)
            if normalize_embeddings:
                vectors = _unit(vectors)
            matrix = _room(matrix, len(texts), vectors.shape[1])
            matrix[done] = vectors
            if cache is not None:
                cache.put(key, [texts[row] for row in done], vectors, tokens=tokens[done])
            advance(len(done))
    for row in np.flatnonzero(first != np.arange(len(texts))):
        matrix[row] = matrix[first[row]]
    return matrix


@contextmanager
def _ready(model, device):
    """Hold a model still (no dropout) and on a device; afterwards it is as it was found."""
    if device is not None and not is_sentence_transformer(model):
        raise ValueError(
            f"device={device!r} is for SentenceTransformers; this {type(model).__name__} decides for "
            "itself where it computes. Leave device out."
        )
    if not is_sentence_transformer(model):
        yield
        return
    home = model.device
    training = [module for module in model.modules() if module.training]
    try:
        if training:
            model.eval()
        if device is not None:
            model.to(device)
        yield
    finally:
        if device is not None:
            model.to(home)
        for module in training:
            module.training = True


@contextmanager
def _progress(total, show):
    """Give a function that counts finished texts, on a bar that is gone when the work is done."""
    bar, finished, began = None, 0, time.monotonic()

    def advance(count):
        nonlocal bar, finished
        finished += count
        long = time.monotonic() - began > LONG_WORK_SECONDS
        if bar is None and total and (show or (show is None and long and finished < total)):
            bar = progress_bar(
                total=total, initial=finished - count, description="Encoding", unit="texts"
            )
        if bar is not None:
            bar.update(count)

    try:
        if show:
            advance(0)
        yield advance
    finally:
        if bar is not None:
            bar.close()


def _checked(texts):
    """Return the texts as a list of strings, or say which entry is none."""
    if isinstance(texts, str | bytes):
        raise TypeError("texts is a single string; put it into a list: encode(model, [text]).")
    if isinstance(texts, Mapping):
        raise TypeError("texts is a mapping; pass its texts: encode(model, list(texts.values())).")
    if isinstance(texts, Set) or not isinstance(texts, Iterable):
        raise TypeError(
            f"texts is of type {type(texts).__name__}; pass a list of strings, in order."
        )
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            missing = text is None or (isinstance(text, float) and text != text)
            kind = repr(text) if missing else f"of type {type(text).__name__}, not a string"
            raise TypeError(
                f"texts[{index}] is {kind}. Drop such entries, or turn them into text, first."
            )
        if not text.isascii():
            _check_unicode(index, text)
    return texts


def _check_unicode(index, text):
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"texts[{index}] is not valid Unicode: half a surrogate pair at character {error.start}. "
            "Read the file with its own encoding, or use text.encode('utf-8', 'replace').decode()."
        ) from None


def _check_options(batch_size, on_long, cache):
    if on_long not in ("warn", "chunk", "error"):
        raise ValueError(f'on_long is {on_long!r}; it can be "warn", "chunk" or "error".')
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    if cache is not None and not hasattr(cache, "lookup"):
        raise TypeError(f"cache is a {type(cache).__name__}; pass an EmbeddingCache, or None.")


def _first_of_equals(texts):
    """Return, for each text, where the first text equal to it stands: (n,)."""
    row_of = {}
    return np.array([row_of.setdefault(text, row) for row, text in enumerate(texts)], dtype=np.intp)


def _report_long(tokens, limit, on_long):
    long = np.flatnonzero(tokens > limit)
    if on_long == "chunk" or not len(long):
        return
    report = (
        f"{len(long)} of {len(tokens)} texts are longer than the model's limit of {limit} tokens "
        f"(the longest has {tokens.max()})"
    )
    if on_long == "error":
        named = ", ".join(f"texts[{index}]" for index in long[:10])
        more = f" and {len(long) - 10} more" if len(long) > 10 else ""
        raise ValueError(
            f'{report}: {named}{more}. Split them, or pass on_long="chunk" to encode their windows.'
        )
    warnings.warn(
        f'{report}; what lies beyond the limit is not in their vectors. Pass on_long="chunk" to '
        "encode them window by window, split them yourself, or use a model with a higher limit.",
        UserWarning,
        stacklevel=4,
    )


def _as_vectors(vectors, indices):
    """Return what a model gave for ``texts[indices]`` as a float32 matrix, or say what is wrong."""
    if hasattr(vectors, "detach"):
        vectors = vectors.detach().float().cpu().numpy()
    expected = f"one vector for each of {len(indices)} texts, the first being texts[{indices[0]}]"
    try:
        vectors = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The model did not return {expected}: {error}.") from error
    if vectors.ndim != 2 or len(vectors) != len(indices):
        raise ValueError(f"The model returned an array of shape {vectors.shape}, not {expected}.")
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ValueError(
            f"The model returned NaN or an infinity for texts[{indices[broken[0]]}]. In half "
            "precision try float32; after training, look at the loss."
        )
    return vectors


def _unit(vectors):
    # The floor is torch.nn.functional.normalize's: a vector of zeros stays one.
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))


def _room(matrix, size, width):
    """Return the matrix, made when the first vector tells how wide it is."""
    if matrix is None:
        matrix = np.empty((size, width), dtype=np.float32)
    if width != matrix.shape[1]:
        raise ValueError(
            f"The model returned vectors of {width} numbers after some of {matrix.shape[1]} (from an "
            "earlier batch or the cache). A model's vectors have one length; if it has changed, so "
            "must its fingerprint."
        )
    return matrix
