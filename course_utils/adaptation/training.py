"""The front door: adapt an embedding model to texts that nobody has labelled.

``train_tsdae`` takes sentences, ``train_pairs`` pairs of texts that belong together. This file takes
what the caller gives, refuses what cannot work, and hangs scores, checkpoints and progress on the
loop, which is in ``loop``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.adaptation.config import PairsConfig, TSDAEConfig
from course_utils.adaptation.dev import refuse_leak
from course_utils.adaptation.progress import Progress, watchers
from course_utils.adaptation.result import (
    TrainingResult,
    adapted_name,
    history_table,
    rebuilt_table,
)
from course_utils.adaptation.texts import (
    Texts,
    prepare_general,
    prepare_pairs,
    prepare_sentences,
)
from course_utils.models.roles import is_sentence_transformer, underlying

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.loop import Trainer
    from course_utils.adaptation.objective import Objective
    from course_utils.data import RetrievalTask, SimilarityTask

_TSDAE, _PAIRS = TSDAEConfig(), PairsConfig()


def train_tsdae(
    model: SentenceTransformer | TrainingResult,
    sentences: Iterable[str],
    config: TSDAEConfig = _TSDAE,
    *,
    dev_task: RetrievalTask | SimilarityTask | None = None,
    watch: Sequence[str] = (),
    watch_at: Sequence[int] = (),
    folder: str | Path | None = None,
    resume: bool = True,
    on_progress: Callable[[Progress], Any] | None = None,
    show_progress_bar: bool | None = None,
) -> TrainingResult:
    """Return a ``TrainingResult``: a new SentenceTransformer, adapted to sentences, and its history.

    Wang, Reimers and Gurevych (2021), *TSDAE*: the encoder sees a damaged sentence, a decoder has to
    rebuild the whole one from its vector.

    ``model`` (a SentenceTransformer, or the result of another training) is copied and stays as it is. Training happens on its device.
    Under ``accelerate launch`` each process takes its share of every batch on its own device, and
    the loss is the one that a single process would have. Several GPUs:
    ``accelerate launch --num_processes 4 script.py``. Without MPI accelerate starts a single process
    on the CPU; for two, let torch start them:
    ``accelerate launch --cpu --num_processes 2 -m torch.distributed.run --nproc_per_node 2 script.py``.

    - ``sentences``: a list of texts of the domain. Equal ones count once. Where the model has a
      default prompt, it stands before each.
    - ``config``: a ``TSDAEConfig``.
    - ``dev_task``: a RetrievalTask (scored by MRR@10) or SimilarityTask (by Spearman's correlation) that
      shares no question with the training texts. It decides which weights are kept and how far to
      go from the start; report scores on another task.
    - ``watch``: a list of sentences, whole or damaged, of which the result tells what the decoder
      rebuilt from their vectors: at the start, after each step of ``watch_at`` and at the end, as
      ``TrainingResult.rebuilt``. It changes nothing of the training.
    - ``folder``: where checkpoints go. Called again with the same arguments, a run that was killed
      goes on from its last one; ``resume=False`` deletes them and begins anew. What other programs
      keep there stays untouched. After Ctrl-C or the stop button the run is saved first, then
      ``KeyboardInterrupt`` is raised as always.
    - ``on_progress``: a function called with a ``Progress`` before the first step and after each,
      instead of the bar; ``show_progress_bar=True`` shows that too, ``False`` never.

    Raises ``TypeError`` for a model that is no SentenceTransformer, a dev task of another kind, or
    an entry that is no text; ``ValueError`` for too few or blank texts (by index), a dev task whose
    questions are among the training texts, sentences to watch where nothing is rebuilt
    (``objective="contrast"``), and a folder that holds another run;
    ``FloatingPointError`` for a loss that is no longer a number, with its step and texts; ``OSError``
    when a checkpoint cannot be written, which leaves the one before it intact.
    """
    from accelerate import Accelerator

    from course_utils.adaptation.denoising import DenoisingObjective, Watch
    from course_utils.retrieval.index import checked_texts

    start, limit = check_start(model, config, TSDAEConfig, dev_task)
    watched = checked_texts(watch, "watch")
    if watched and config.objective != "denoising":
        raise ValueError(
            f"watch shows what a decoder rebuilds, and objective={config.objective!r} has none. Leave "
            'watch out, or take objective="denoising".'
        )
    accelerator = Accelerator()
    warn = accelerator.is_main_process
    texts = {"sentences": prepare_sentences(sentences, start.tokenizer, limit, warn=warn)}
    refuse_leak(dev_task, texts["sentences"].given)
    objective = DenoisingObjective(start, texts["sentences"], config, limit, accelerator)
    watching = watchers(on_progress, show_progress_bar) if accelerator.is_main_process else []
    noting = [Watch(objective, watched, watch_at)] if watched else []
    return _train(objective, texts, dev_task, folder, resume, watching, noting)


def train_pairs(
    model: SentenceTransformer | TrainingResult,
    pairs: Iterable[Sequence[str]],
    config: PairsConfig = _PAIRS,
    *,
    general: Iterable[str] | None = None,
    dev_task: RetrievalTask | SimilarityTask | None = None,
    folder: str | Path | None = None,
    resume: bool = True,
    on_progress: Callable[[Progress], Any] | None = None,
    show_progress_bar: bool | None = None,
) -> TrainingResult:
    """Return a ``TrainingResult``: a new SentenceTransformer, adapted to pairs, and its history.

    Each text of a pair has to find its partner among those of the batch (Henderson et al. 2017,
    section 4.4).

    - ``pairs``: a list of ``(text, text)`` that belong together by the structure of the texts, such as
      (title, body) or (term, definition). Equal ones count once. Where the model has prompts for
      queries and documents, the first text gets the one, the second the other.
    - ``config``: a ``PairsConfig``.
    - ``general``: a list of everyday sentences whose cosines shall stay what they were, for
      ``distil_weight``; without them nothing is held in place.

    ``model``, ``dev_task``, ``folder``, ``resume``, ``on_progress``, ``show_progress_bar``, running on
    several devices, and all errors are those of ``train_tsdae``.
    """
    from accelerate import Accelerator

    from course_utils.adaptation.pairs import PairsObjective

    start, limit = check_start(model, config, PairsConfig, dev_task)
    accelerator = Accelerator()
    warn = accelerator.is_main_process
    texts = {"pairs": prepare_pairs(pairs, start.tokenizer, limit, warn=warn)}
    if general is not None:
        texts["general sentences"] = prepare_general(general, start.tokenizer, limit)
    refuse_leak(dev_task, texts["pairs"].given)
    objective = PairsObjective(
        start, texts["pairs"], texts.get("general sentences"), config, limit, accelerator
    )
    watching = watchers(on_progress, show_progress_bar) if accelerator.is_main_process else []
    return _train(objective, texts, dev_task, folder, resume, watching)


def _train(
    objective: Objective,
    texts: dict[str, Texts],
    dev_task: RetrievalTask | SimilarityTask | None,
    folder: str | Path | None,
    resume: bool,
    watching: list[Callable[[Progress], Any]],
    noting: Sequence[Callable[[Trainer], Any]] = (),
) -> TrainingResult:
    """Run the loop with all that hangs on it, and return what comes out."""
    from course_utils.adaptation.checkpoints import Checkpoints
    from course_utils.adaptation.dev import DevScores
    from course_utils.adaptation.loop import Trainer

    config, start = objective.config, objective.start
    trainer = Trainer(objective)
    dev = DevScores(dev_task, start, config.evaluate_every or max(1, trainer.steps // 10))
    identity = {} if folder is None else _identity(objective, texts, dev_task)
    checkpoints = Checkpoints(folder, config.checkpoint_every, identity, dev)

    def tell(trainer):
        now, end = trainer.step, trainer.steps
        for told in watching:
            told(Progress(now, end, trainer.history, ended=now >= end))

    # What is scored and noted is part of what is saved, and told.
    trainer.callbacks = [dev, *noting, checkpoints, tell]
    with _own_generator(start.device, objective.device):
        checkpoints.begin(trainer, resume)
        try:
            trainer.run()
        except KeyboardInterrupt:
            checkpoints.save(trainer)
            raise
        trainer.optimiser.zero_grad(set_to_none=True)
        share, scores, evaluations = dev.choose(trainer, config.interpolate)
    return TrainingResult(
        model=trainer.encoder,
        history=history_table(trainer.history),
        rebuilt=rebuilt_table(trainer.history),
        alpha=share,
        alphas=scores,
        before=evaluations.get(0.0),
        after=evaluations.get(share),
        config=config,
        counts=_counts(texts),
        precision="bfloat16" if objective.bfloat16 else "float32",
        name=adapted_name(start),
    )


def check_start(
    model: SentenceTransformer | TrainingResult,
    config: TSDAEConfig | PairsConfig,
    kind: type,
    dev_task: RetrievalTask | SimilarityTask | None,
) -> tuple[SentenceTransformer, int]:
    """Return the model to start from, and how many tokens of a text are used.

    Raises ``TypeError`` for a model that cannot be trained, a configuration that is not of the
    ``kind``, and a dev task that cannot be scored; ``ValueError`` for a model in another precision
    than float32.
    """
    from course_utils.data.tasks import RetrievalTask, SimilarityTask

    start: SentenceTransformer = underlying(model)
    if not is_sentence_transformer(start):
        raise TypeError(
            f"model is a {type(model).__name__}, not a SentenceTransformer. Pass the result of "
            "load_model(); a remote or wrapped embedder cannot be trained."
        )
    if (precision := getattr(start, "precision", "float32")) != "float32":
        raise ValueError(
            f"This model computes in {precision} and cannot be trained: pass what load_model(name) "
            "gives, without precision."
        )
    if not callable(getattr(start, "tokenizer", None)):
        raise TypeError(
            f"The tokenizer of this model is a {type(start.tokenizer).__name__}; training needs a "
            "transformer with a tokenizer from the transformers library."
        )
    if not isinstance(config, kind):
        raise TypeError(f"config is a {type(config).__name__}; pass {kind.__name__}(...).")
    if dev_task is not None and not isinstance(dev_task, RetrievalTask | SimilarityTask):
        raise TypeError(
            f"dev_task is a {type(dev_task).__name__}; it can be a RetrievalTask or a SimilarityTask."
        )
    return start, min(config.max_tokens, start.max_seq_length or config.max_tokens)


def _identity(
    objective: Objective,
    texts: dict[str, Texts],
    dev_task: RetrievalTask | SimilarityTask | None,
) -> dict[str, Any]:
    """Return what two runs must share for one to go on where the other stopped."""
    from course_utils.adaptation.dev import task_fingerprint
    from course_utils.models.fingerprints import fingerprint

    config = asdict(objective.config)
    # How often a run is saved, and how its end is mixed with its start, change no step of it.
    del config["checkpoint_every"], config["interpolate"]
    return {
        "objective": objective.config.objective,
        **config,
        "bfloat16": objective.bfloat16,
        **{kind: held.fingerprint for kind, held in texts.items()},
        "prompts": objective.prompts,
        "model": fingerprint(objective.start)[:16],
        "dev task": task_fingerprint(dev_task),
    }


def _counts(texts: dict[str, Texts]) -> dict[str, int]:
    """Return how many texts of each kind were given, used and cut."""
    counts: dict[str, int] = {}
    for kind, held in texts.items():
        counts |= {f"{kind} given": len(held.given), f"{kind} used": len(held.rows)}
    return counts | {"texts cut": sum(held.cut for held in texts.values())}


@contextmanager
def _own_generator(*devices: torch.device) -> Iterator[None]:
    """Leave torch's global generators as they are found."""
    import torch

    cuda = [device.index or 0 for device in set(devices) if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda):
        yield
