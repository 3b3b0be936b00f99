"""A student that is a table: one vector a token, whose mean is the vector of a text.

Nothing is computed at encoding but that mean, which is what makes it fast. What a table cannot know is
what words mean beside each other; what it can be taught is which of them matter in the texts at hand.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.data.sentences import split_sentences
from course_utils.encoding import encode
from course_utils.encoding.batches import tokenises_plainly
from course_utils.encoding.progress import progress_bar
from course_utils.models.files import require
from course_utils.models.roles import is_sentence_transformer, underlying
from course_utils.retrieval.index import checked_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    from course_utils.adaptation.result import TrainingResult
    from course_utils.encoding.cache import EmbeddingCache

EXTRA = "static"
SPANS = 6  # drawn from each text, of 3 to 12 words: about as long as a query
WORD_COUNT = 2  # a word that occurs as often gets a row of its own
_SIF = 1e-4  # model2vec's own, after Arora et al. 2017
_BATCH = 512  # pieces, those of one text together: what is close has to be told apart
_TEMPERATURE = 0.05
_COSINE = 5.0  # the weight of the first loss
_WARM_UP = 30  # steps
_RIDGE = 1e-2  # of the mean square of a direction
_POOLING = {"mean": "mean", "cls": "first", "lasttoken": "last"}


def distil_static(
    model: SentenceTransformer | TrainingResult,
    texts: Iterable[str] | None = None,
    *,
    dimensions: int = 256,
    epochs: int = 10,
    learning_rate: float = 1e-2,
    cache: EmbeddingCache | None = None,
    seed: int = 0,
    show_progress_bar: bool | None = None,
) -> SentenceTransformer:
    """Return a static student of ``model``: a SentenceTransformer that only looks tokens up.

    A text's vector is the mean of one learnt vector a token, whatever stands beside it. Save it with
    ``student.save(folder)``, read it back with ``load_model(folder)``. It is on the CPU, and has
    neither roles nor prompts.

    - ``model``: the teacher, a SentenceTransformer or a result of training, of a transformer that
      reads text. It stays as it is.
    - ``texts``: without them, each token goes through the transformer alone, the vectors are reduced
      by PCA and weighted by the token's rank (model2vec; Tulkens and van Dongen 2024). What stands
      behind the teacher's pooling has no part in it. With them, that student is then trained towards
      the teacher's vectors of the texts, their sentences, and spans of 3 to 12 words. Words
      that occur twice or more get a row of their own (if the tokenizer is WordPiece). Give the texts to be
      searched, and never the questions that you measure by: see ``drop_questions``.
    - ``dimensions``: length of the student's vectors, at most that of the transformer's.
    - ``epochs``: how often each text is seen; ``learning_rate``: Adam's, at its highest, falling to 0.
    - ``cache``: an ``EmbeddingCache`` for the teacher's vectors, by far the longest part.
    - ``seed``: for the spans and their order. Equal seeds give equal weights on one machine.
    - ``show_progress_bar``: a bar for each part; ``False`` for none.

    Training has two losses: five times 1 - cosine to the teacher's vector, reduced to ``dimensions``
    by an uncentred PCA, which keeps dot products; plus the Kullback-Leibler divergence
    between the teacher's and the student's similarities of each text to the others of a batch, as
    softmax at a temperature of .05, so that neighbours keep their order.

    Raises ``TypeError`` for a model that is no such SentenceTransformer, and for texts that are not
    strings; ``ValueError`` for no texts, a blank text, fewer than two different texts, for
    ``dimensions`` that do not fit, and for ``epochs`` or ``learning_rate`` out of range;
    ``ImportError`` where the package model2vec is missing.
    """
    teacher: Any = underlying(model)
    _check_teacher(teacher, model)
    _check_options(teacher, dimensions, epochs, learning_rate)
    given = None if texts is None else _checked(texts)
    student = _distil(teacher, "auto" if given else dimensions, seed, show_progress_bar)
    if given:
        student = _train(
            student, teacher, given, dimensions, epochs, learning_rate, cache, seed,
            show_progress_bar,
        )  # fmt: skip
    student.tokenizer.no_truncation()  # a mean has no longest text
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(modules=[student], device="cpu", similarity_fn_name="cosine")


def _check_teacher(teacher, given):
    if not is_sentence_transformer(teacher):
        raise TypeError(
            f"model is a {type(given).__name__}, not a SentenceTransformer. Pass the result of "
            "load_model() or of training; from a remote or wrapped embedder no token can be had."
        )
    if not tokenises_plainly(teacher) or not teacher.tokenizer.is_fast:
        raise TypeError(
            f"The first part of this model is a {type(teacher[0]).__name__} that a student cannot be "
            "made of: it takes a transformer that reads plain text, with a fast tokenizer."
        )


def _check_options(teacher, dimensions, epochs, learning_rate):
    widest = min(teacher[0].get_embedding_dimension(), len(teacher.tokenizer) - 1)
    if not 1 <= dimensions <= widest:
        raise ValueError(
            f"dimensions is {dimensions}; from this model it can be 1 to {widest}, as many as its "
            "token vectors have."
        )
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; train for at least 1, or leave texts out.")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate is {learning_rate}; it is a number above 0, such as 0.01.")


def _checked(texts):
    texts = checked_texts(texts, "texts")
    if not texts:
        raise ValueError(
            "There are no texts to train on. Give some, 1,000 or more, or leave texts out."
        )
    for number, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"texts item {number} is blank: leave it out.")
    texts = list(dict.fromkeys(texts))
    if len(texts) < 2:
        raise ValueError("All texts are the same: there is nothing to tell apart. Give others too.")
    return texts


def _distil(teacher, dimensions, seed, show):
    """Return model2vec's StaticEmbedding of the teacher, of all dimensions for "auto"."""
    distillation = require("model2vec.distill", EXTRA, "Distilling a static model")
    import torch
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    transformer = deepcopy(teacher[0].auto_model).float()  # model2vec resizes what it is given
    # A folder that exists: of any other name, model2vec would ask the hub for a model card.
    transformer.name_or_path = tempfile.gettempdir()
    with _bar(show, len(teacher.tokenizer), "Distilling", "tokens") as advance:

        def count(_module, _given, answer):  # what a hook returns would take the answer's place
            advance(len(answer[0]))

        transformer.register_forward_hook(count)
        # A bar of model2vec's own would stay, and resizing the transformer draws random numbers.
        with redirect_stderr(io.StringIO()), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            student = distillation.distill_from_model(
                transformer,
                deepcopy(teacher.tokenizer),
                device=str(teacher.device),
                pca_dims=dimensions,
                sif_coefficient=_SIF,
                quantize_to="float32",
                pooling=_POOLING.get(_pooling_mode(teacher), "mean"),
            )
    return StaticEmbedding(student.tokenizer, student.embedding)


def _pooling_mode(teacher):
    modes = [getattr(part, "pooling_mode", None) for part in teacher]
    return next((mode for mode in modes if isinstance(mode, str)), "mean")


def _with_words(student, texts):
    """Return the student with a row for each frequent word, equal to the sum of its pieces' rows.

    So a text's sum of rows, and with it the direction of its vector, is what it was before.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = student.tokenizer
    rules = json.loads(tokenizer.to_str())
    known = rules["model"]["vocab"]
    if rules["model"]["type"] != "WordPiece":  # the others have scores or merges for what they know
        return student
    counts = Counter(word for text in texts for word in _words(tokenizer, text))
    words = [word for word, count in counts.items() if count >= WORD_COUNT and word not in known]
    table = student.embedding.weight.detach().numpy()
    parts = [part.ids for part in tokenizer.encode_batch(words, add_special_tokens=False)]
    rows = [table[part].sum(axis=0, keepdims=True) for part in parts]
    known |= {word: len(table) + number for number, word in enumerate(words)}
    return StaticEmbedding(Tokenizer.from_str(json.dumps(rules)), np.concatenate([table, *rows]))


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the words that the tokenizer would cut into pieces."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def _pieces(texts: list[str], seed: int) -> tuple[list[str], list[np.ndarray]]:
    """Return what is trained on, each once, and for each text the places of what was cut from it."""
    rng = np.random.default_rng(seed)
    places: dict[str, int] = {}
    groups = []
    for text in texts:
        words = text.split()
        found = [text, *split_sentences(text, min_words=2)]
        for length in rng.integers(3, 13, size=SPANS):
            if length < len(words):
                start = rng.integers(0, len(words) - length + 1)
                found.append(" ".join(words[start : start + length]))
        new = [piece for piece in dict.fromkeys(found) if piece not in places]
        for piece in new:
            places[piece] = len(places)
        groups.append(np.array([places[piece] for piece in new], dtype=np.int64))
    return list(places), groups


class _Bags:
    """The token ids of n texts, end to end, as the parts that ``embedding_bag`` takes."""

    def __init__(self, tokenizer, texts):
        parts = tokenizer.encode_batch(texts, add_special_tokens=False)
        ids = [np.array(part.ids, dtype=np.int64) for part in parts]  # of control characters none
        self.lengths = np.array([len(part) for part in ids])
        self.ends = np.cumsum(self.lengths)
        # The rows of the table that occur, and each id as its place among them.
        self.used, self.ids = np.unique(np.concatenate(ids), return_inverse=True)

    def __call__(self, table, rows):
        """Return the unit vectors (len(rows), d) of some texts."""
        import torch
        from torch.nn.functional import embedding_bag, normalize

        lengths = self.lengths[rows]
        offsets = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self.ends[rows] - lengths - offsets, lengths)
        ids = torch.from_numpy(self.ids[places])
        return normalize(embedding_bag(ids, table, torch.from_numpy(offsets), mode="sum"), dim=1)


def _train(
    student: StaticEmbedding, teacher: SentenceTransformer, texts: list[str], dimensions: int,
    epochs: int, learning_rate: float, cache: EmbeddingCache | None, seed: int, show: bool | None,
) -> StaticEmbedding:  # fmt: skip
    """Return the student, turned towards the teacher's vectors and then trained on them."""
    import torch
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from torch.nn.functional import kl_div, log_softmax

    pieces, groups = _pieces(texts, seed)
    vectors = encode(teacher, pieces, on_long="chunk", cache=cache, show_progress_bar=show)
    axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :dimensions]
    target = torch.from_numpy(_unit(vectors @ axes))
    taught = torch.from_numpy(vectors)

    # The nearest start: the linear map from the student's vectors to their targets (ridge regression).
    student = _with_words(student, texts)
    table = student.embedding.weight.detach()
    bags = _Bags(student.tokenizer, pieces)
    start = bags(table[bags.used], np.arange(len(pieces)))
    ridge = len(pieces) / start.shape[1] * _RIDGE * torch.eye(start.shape[1])
    table = table @ torch.linalg.solve(start.T @ start + ridge, start.T @ target)
    table /= table.norm(dim=1).mean()  # so that one learning rate fits every teacher

    weight = table[bags.used].clone().requires_grad_()
    optimiser = torch.optim.Adam([weight], fused=True)
    steps = epochs * math.ceil(len(pieces) / _BATCH)
    with _bar(show, steps, "Training", "steps") as advance:
        for step, rows in enumerate(_batches(groups, epochs, seed)):
            optimiser.param_groups[0]["lr"] = (
                learning_rate * min(1, (step + 1) / _WARM_UP) * (1 - step / steps)
            )
            made = bags(weight, rows)
            loss = _COSINE * (1 - (made * target[rows]).sum(1).mean())
            itself = torch.eye(len(rows), dtype=torch.bool)
            ours, theirs = (
                log_softmax((one @ one.T).masked_fill(itself, -9) / _TEMPERATURE, dim=1)
                for one in (made, taught[rows])
            )
            loss = loss + kl_div(ours, theirs, log_target=True, reduction="batchmean")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            advance(1)
    table[bags.used] = weight.detach()
    return StaticEmbedding(student.tokenizer, table)


def _batches(groups: list[np.ndarray], epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the places of each batch: texts in a random order, each with what was cut from it."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = np.concatenate([groups[text] for text in rng.permutation(len(groups))])
        for start in range(0, len(order), _BATCH):
            yield order[start : start + _BATCH]


def _unit(matrix):
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


@contextmanager
def _bar(show, total, description, unit):
    """Give a function that moves a bar on; one that does nothing where none is to be shown."""
    if show is False:
        yield lambda count: None
        return
    bar = progress_bar(total=total, description=description, unit=unit)
    try:
        yield bar.update
    finally:
        bar.close()
