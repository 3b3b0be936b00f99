"""Questions that nobody asked yet: a small language model reads each text and asks for it.

After Bonifacio et al. (2022), *InPars: Data Augmentation for Information Retrieval using Large
Language Models*: a few examples in the prompt, one text after them, and what the model writes next
is a question to train on. A small model writes silly things as well, so what it wrote is filtered
(``keep_grounded``) before anything learns from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from course_utils.data.medical import word_stems
from course_utils.encoding.encode import encode_document, encode_query
from course_utils.encoding.progress import progress_bar

if TYPE_CHECKING:
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder
    from course_utils.models.writer import SmolLM2

#: What writes: the packaged model, or any function from prompts to what is written after them.
Writer: TypeAlias = "SmolLM2 | Callable[[list[str]], list[str]]"

INSTRUCTION = "Each text, and how someone who does not know its words would ask for it."

_BATCH = 64  # texts written for at once, and kept at once
_AT_ONCE = 1024  # questions scored at once: 65 MB of scores for 16,000 texts
_FORMAT = "course-utils questions 1"


def generate_questions(
    texts: Sequence[str] | Mapping[str, str],
    examples: Sequence[tuple[str, str]],
    *,
    writer: Writer | None = None,
    n: int = 4,
    instruction: str = INSTRUCTION,
    temperature: float = 0.7,
    seed: int = 0,
    path: str | Path | None = None,
    show_progress_bar: bool | None = None,
) -> dict[str, list[str]]:
    """Return up to ``n`` different questions for each text: ``{id: questions}``, as they were written.

    ``texts`` is a list, whose texts get the ids ``"0"`` to ``"n-1"``, or a dict from id to text.
    ``examples`` are pairs of a text and what was asked for it; they set the tone, so take them from
    where your test is not. ``instruction`` stands before them. A text is cut after 80 tokens.

    ``writer`` is None for SmolLM2-135M-Instruct (see ``SmolLM2``), or any function that takes a list
    of prompts and returns what comes after each (``ask_endpoint`` makes one of a served model); the
    first line of it counts. It is called with every prompt ``n`` times; ``temperature`` and ``seed``
    are for the packaged writer only, which gives equal questions for equal arguments.

    With a ``path``, every 64 texts' questions are added to that file as JSON Lines and kept there: a
    call that was stopped goes on where it was, and a finished one is read back.

    Raises ``ValueError`` for no texts, no examples, blank ones, a number below 1, a file that holds
    the questions of other arguments, or a writer that returns another number of lines;
    ``ImportError`` with the line to type where the packaged writer is missing.

    >>> def parrot(prompts):
    ...     return [" what is " + prompt.split("Text: ")[-1].split(".")[0] for prompt in prompts]
    >>> generate_questions(["Tinnitus. A sound."], [("Fever. Heat.", "hot")], writer=parrot)
    {'0': ['what is Tinnitus']}
    """
    named = _named(texts)
    examples = _checked(examples)
    if n < 1 or temperature < 0:
        raise ValueError(
            f"n is {n} and temperature {temperature}: ask for 1 or more, and 0 or more."
        )
    from course_utils.models.writer import SmolLM2

    # Of like length together, or a long text makes all rows of its batch long.
    order = sorted(named, key=lambda name: (len(named[name]), name))
    told = [
        list(named.items()),
        instruction,
        examples,
        n,
        temperature,
        seed,
        SmolLM2.name if writer is None else getattr(writer, "name", None),
    ]
    store = _Store(path, hashlib.sha256(json.dumps(told).encode()).hexdigest())
    left = [batch for batch in _batches(order) if batch[0] not in store.questions]
    if left and writer is None:
        writer = SmolLM2()
    shown = show_progress_bar is not False and left
    with (
        closing(
            progress_bar(
                total=len(named), initial=len(store.questions), description="Writing", unit="texts"
            )
        )
        if shown
        else nullcontext()
    ) as bar:
        for batch in left:
            bodies = [named[name] for name in batch]
            # A seed of the batch's own: what was asked before does not change what is asked next.
            asked = _write(
                writer, instruction, examples, bodies, n, temperature, _number(seed, batch[0])
            )
            store.add(dict(zip(batch, map(_different, asked), strict=True)))
            if bar is not None:
                bar.update(len(batch))
    return {name: store.questions[name] for name in named}


def keep_grounded(
    model: AnyEmbedder,
    questions: Mapping[str, Iterable[str]],
    texts: Sequence[str] | Mapping[str, str],
    *,
    places: tuple[int, int] = (2, 100),
    examples: Iterable[tuple[str, str]] = (),
    cache: EmbeddingCache | None = None,
    show_progress_bar: bool | None = None,
) -> list[tuple[str, str]]:
    """Return the pairs (question, text) that are worth training on, in the order of ``questions``.

    ``questions`` are those of ``generate_questions`` for the texts. Left out is a question

    - whose own text does not stand at one of the ``places``, first to last, among all ``texts`` as
      ``model`` ranks them for it. Beyond the last, what was written has little to do with its text
      (the consistency filter of Dai et al. 2023, *Promptagator*, section 3.2, which keeps the first
      place alone); before the first, there is nothing to learn: the model finds it as it is;
    - that brings no word which its text lacks (by ``word_stems``): it only repeats the text;
    - that was written for another text which the model puts nearer to it;
    - whose words are all among those of a question of ``examples``: the writer repeated its prompt.

    ``cache`` and ``show_progress_bar`` are those of ``encode``. Of the words of a test it knows
    nothing: ``drop_questions(pairs, task)`` leaves out what a task asks.

    Raises ``ValueError`` for an id that is not in ``texts``, and for places that are none.
    """
    first_place, last_place = places
    named = _named(texts)
    if not 1 <= first_place <= last_place:
        raise ValueError(f"places is {places}: give the first and the last, from 1 up.")
    missing = [name for name in questions if name not in named]
    if missing:
        raise ValueError(f"There are questions for {missing[0]!r}, which is not among the texts.")
    shown = [_words(asked) for _, asked in examples]
    stems = {name: word_stems(named[name]) for name in questions}
    rows = [
        (name, asked)
        for name, several in questions.items()
        for asked in several
        if word_stems(asked) - stems[name] and not any(_words(asked) <= words for words in shown)
    ]
    options: dict[str, Any] = {"cache": cache, "show_progress_bar": show_progress_bar}
    place = {name: row for row, name in enumerate(named)}
    documents = encode_document(model, list(named.values()), **options)
    vectors = encode_query(model, [asked for _, asked in rows], **options)
    nearest: dict[str, tuple[float, int]] = {}
    ranks = []
    for first in range(0, len(rows), _AT_ONCE):
        scores = vectors[first : first + _AT_ONCE] @ documents.T  # (questions, texts)
        for number, line in enumerate(scores, start=first):
            name, asked = rows[number]
            own = float(line[place[name]])
            ranks.append(1 + int((line > own).sum()))
            nearest[asked.casefold()] = max(
                nearest.get(asked.casefold(), (-2.0, 0)), (own, -number)
            )
    return [
        (asked, named[name])
        for number, ((name, asked), rank) in enumerate(zip(rows, ranks, strict=True))
        if first_place <= rank <= last_place and nearest[asked.casefold()][1] == -number
    ]


class _Store:
    """What has been written so far, in memory and, with a path, in a file that only grows."""

    def __init__(self, path: str | Path | None, arguments: str) -> None:
        self.path = None if path is None else Path(path)
        self.questions: dict[str, list[str]] = {}
        header = {"format": _FORMAT, "arguments": arguments}
        if self.path is None:
            return
        if self.path.exists() and self.path.stat().st_size:
            self._read(header)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def _read(self, header):
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            first, *batches = map(json.loads, whole.decode("utf-8").splitlines())
            self.questions = {name: asked for batch in batches for name, asked in batch.items()}
        except (ValueError, AttributeError):
            raise ValueError(
                f"{self.path} holds no questions of this course. Give a new file."
            ) from None
        if first != header:
            raise ValueError(
                f"{self.path} holds questions written with other texts, examples or options. Give a "
                "new file, or the arguments of then."
            )
        if len(whole) < len(content):  # cut off in the middle of a line
            with open(self.path, "r+b") as file:
                file.truncate(len(whole))

    def add(self, questions: dict[str, list[str]]) -> None:
        """Keep a batch's questions, and return when they are on the disk."""
        self.questions |= questions
        if self.path is not None:
            self._append(questions)

    def _append(self, batch):
        # One line and one write for a batch: what a killed process leaves is whole or not read.
        with open(self.path, "ab") as file:
            file.write((json.dumps(batch, ensure_ascii=False) + "\n").encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())


def _write(writer, instruction, examples, bodies, n, temperature, seed):
    """Return n lines for each body; of what a function writes, the first line counts."""
    if hasattr(writer, "write"):
        options = {"n": n, "temperature": temperature, "seed": seed}
        return writer.write(instruction, examples, bodies, **options)
    prompts = [prompt_of(instruction, examples, body) for body in bodies for _ in range(n)]
    written = list(writer(prompts))
    if len(written) != len(prompts):
        raise ValueError(
            f"The writer returned {len(written)} lines for {len(prompts)} prompts. It has to return "
            "one for each, in their order."
        )
    lines = [(str(line).strip().splitlines() or [""])[0].strip() for line in written]
    return [lines[row : row + n] for row in range(0, len(lines), n)]


def prompt_of(instruction: str, examples: Sequence[tuple[str, str]], text: str) -> str:
    """Return what a writer that is a function is given: instruction, examples, and the text last.

    >>> print(prompt_of("Ask.", [("Fever. Heat.", "hot")], "Tinnitus. A sound."))
    Ask.
    <BLANKLINE>
    Text: Fever. Heat.
    Asked: hot
    <BLANKLINE>
    Text: Tinnitus. A sound.
    Asked:
    """
    shown = (f"Text: {' '.join(given.split())}\nAsked: {asked}\n\n" for given, asked in examples)
    return f"{instruction}\n\n{''.join(shown)}Text: {' '.join(text.split())}\nAsked:"


def _checked(examples):
    examples = [(pair if isinstance(pair, str) else tuple(pair)) for pair in examples]
    if not examples:
        raise ValueError("There are no examples: give at least one pair (text, question).")
    for number, pair in enumerate(examples):
        if isinstance(pair, str) or len(pair) != 2 or not all(map(str.strip, pair)):
            raise ValueError(
                f"examples[{number}] is {pair!r}: give a pair of a text and a question."
            )
    return examples


def _named(texts):
    if isinstance(texts, str):
        raise ValueError("texts is one string: put it in a list, [text].")
    named = dict(texts) if isinstance(texts, Mapping) else {str(n): t for n, t in enumerate(texts)}
    if not named:
        raise ValueError("There are no texts to ask for: give at least one.")
    for name, text in named.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"The text {name!r} is {text!r}: leave out what is blank or no string."
            )
    return named


def _batches(order):
    return [order[row : row + _BATCH] for row in range(0, len(order), _BATCH)]


def _different(asked):
    """Return the questions that are not blank, each once, capitals aside."""
    return list({line.casefold(): line for line in reversed(asked) if line}.values())[::-1]


def _number(*parts):
    """Return a seed made of the parts, the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6])


def _words(text):
    return set(re.findall(r"\w+", text.casefold()))
