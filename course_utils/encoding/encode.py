"""Text in, float32 matrix out; never the same text twice.

The vectors are those of ``SentenceTransformer.encode``. What is added: texts are tokenised once and
go through the model in batches of like length, so that little is spent on padding; a text over the
model's limit is reported instead of silently cut; duplicates are encoded once; and a cache, keyed
by a fingerprint of the model, remembers.
"""

import time
import warnings
from collections.abc import Iterable, Mapping, Set
from contextlib import contextmanager

import numpy as np

from course_utils.encoding.batches import Called, Tokenised, tokenises_plainly
from course_utils.encoding.embedders import as_embedder, dimension
from course_utils.models.fingerprints import fingerprint, is_sentence_transformer

__all__ = ["as_embedder", "dimension", "encode", "fingerprint"]

LONG_WORK_SECONDS = 2.0  # a progress bar before that would only flicker


def encode(
    model,
    texts,
    *,
    batch_size=32,
    normalize_embeddings=True,
    prompt=None,
    on_long="warn",
    cache=None,
    device=None,
    show_progress_bar=None,
):
    """Return one vector per text, as the rows of a float32 matrix (n, d).

    ``model`` is a SentenceTransformer, or any *embedder*: an object with
    ``encode(list[str]) -> (n, d)``, see ``as_embedder``. ``texts`` is a list (or another sequence)
    of n strings; the empty string is a text like any other. No texts give a matrix of shape (0, d),
    with d = 0 for an embedder that does not tell its ``dimension``.

    - ``batch_size``: a batch holds this many texts of 64 tokens, more of shorter ones, fewer of
      longer ones, so that memory is the same for every batch. An embedder gets this many texts.
    - ``normalize_embeddings``: rows of length 1, so that a dot product is a cosine.
    - ``prompt``: words put before every text; ``None`` means the model's own default, if it has one.
    - ``on_long``: what happens to texts of more tokens than ``model.max_seq_length``. ``"warn"``
      cuts them off and says once how many there were; ``"chunk"`` encodes overlapping windows of at
      most that many tokens and returns their mean, weighted by tokens; ``"error"`` refuses.
    - ``cache``: an ``EmbeddingCache``; only texts that it does not know are encoded, and each batch
      is kept as soon as it is done.
    - ``device``: where to compute (``"cuda"``, ``"mps"``, ``"cpu"``); ``None`` means where the model
      is. Afterwards the model is where it was, and in training mode if it was.
    - ``show_progress_bar``: ``None`` shows one when the work takes longer than two seconds.

    Each distinct text is encoded once, whatever its number. A GPU that runs out of memory gets the
    batch again in halves.

    Raises ``TypeError`` for a single string, and for an entry that is no string (``None``, NaN, a
    number), by its index; ``ValueError`` for text that is not valid Unicode, for an option with an
    unknown value, for long texts under ``on_long="error"``, for ``cache=`` with an embedder that has
    no fingerprint, and for vectors that hold NaN or have the wrong shape.

    Window pooling keeps a document's vector the token-weighted mean of its parts; see Reimers and
    Gurevych (2019), section 3, for the mean over tokens that it extends.

    >>> letters = as_embedder(lambda texts: [[text.count("a"), text.count("b")] for text in texts])
    >>> encode(letters, ["abb", "b", "abb"], normalize_embeddings=False)
    array([[1., 2.],
           [0., 1.],
           [1., 2.]], dtype=float32)
    """
    texts = _checked(texts)
    _check_options(model, batch_size, on_long, cache)
    unique = list(dict.fromkeys(texts))
    row_of = {text: row for row, text in enumerate(unique)}
    rows = np.fromiter((row_of[text] for text in texts), dtype=np.int64, count=len(texts))
    first = np.zeros(len(unique), dtype=np.int64)
    first[rows[::-1]] = np.arange(len(texts))[::-1]

    key, known = None, {}
    if cache is not None:
        key = fingerprint(
            model, normalize_embeddings=normalize_embeddings, prompt=prompt, on_long=on_long
        )
        known = cache.lookup(key, unique)
    todo = np.array([row for row in range(len(unique)) if row not in known], dtype=np.int64)
    encoder = (Tokenised if tokenises_plainly(model) else Called)(
        model, [unique[row] for row in todo], prompt, on_long, batch_size
    )
    tokens = np.zeros(len(unique), dtype=np.int64)
    tokens[list(known)] = [count for _, count in known.values()]
    tokens[todo] = encoder.tokens
    _report_long(tokens[rows], encoder.limit, on_long)

    matrix = np.zeros((0, dimension(model) or 0), dtype=np.float32) if not unique else None
    if known:
        kept = np.stack([vector for vector, _ in known.values()])
        matrix = _write(matrix, len(unique), list(known), kept)
    where = device if len(todo) else None
    with _ready(model, where), _progress(len(todo), show_progress_bar) as advance:
        for done, vectors in encoder.batches():
            done = todo[done]
            vectors = _as_vectors(vectors, first[done])
            if normalize_embeddings:
                vectors = _unit(vectors)
            matrix = _write(matrix, len(unique), done, vectors)
            if cache is not None:
                cache.put(key, [unique[row] for row in done], vectors, tokens=tokens[done])
            advance(len(done))
    return matrix if len(unique) == len(texts) else matrix[rows]


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
            from tqdm.auto import tqdm

            bar = tqdm(
                total=total, initial=finished - count, desc="Encoding", unit=" texts", leave=False
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


def _check_options(model, batch_size, on_long, cache):
    # A string has an encode method of its own: the model's name given for the model.
    if isinstance(model, str) or not callable(getattr(model, "encode", None)):
        raise TypeError(
            f"model is a {type(model).__name__}, not an embedder. Pass the result of "
            "load_model(), or wrap a function: as_embedder(function)."
        )
    if on_long not in ("warn", "chunk", "error"):
        raise ValueError(f'on_long is {on_long!r}; it can be "warn", "chunk" or "error".')
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    if cache is not None and not hasattr(cache, "lookup"):
        raise TypeError(f"cache is a {type(cache).__name__}; pass an EmbeddingCache, or None.")


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
        stacklevel=3,
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


def _write(matrix, size, rows, vectors):
    if matrix is None:
        matrix = np.empty((size, vectors.shape[1]), dtype=np.float32)
    if vectors.shape[1] != matrix.shape[1]:
        raise ValueError(
            f"The model returned vectors of {vectors.shape[1]} numbers after some of "
            f"{matrix.shape[1]} (from an earlier batch or the cache). A model's vectors have one "
            "length; if it has changed, so must its fingerprint."
        )
    matrix[rows] = vectors
    return matrix
