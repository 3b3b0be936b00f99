"""TSDAE: adapt an embedding model to texts that nobody has labelled.

Wang, Reimers and Gurevych (2021), *TSDAE: Using Transformer-based Sequential Denoising
Auto-Encoder for Unsupervised Sentence Embedding Learning*. This file takes what the caller gives,
refuses what cannot work, and starts the loop, which is in ``trainer``.
"""

from contextlib import contextmanager

from course_utils.adaptation.config import TSDAEConfig
from course_utils.adaptation.dev import refuse_leak
from course_utils.adaptation.progress import default_progress
from course_utils.adaptation.texts import prepare_texts

_DEFAULT = TSDAEConfig()


def train_tsdae(
    model,
    sentences,
    config=_DEFAULT,
    *,
    pairs=None,
    general=None,
    dev_task=None,
    folder=None,
    resume=True,
    on_progress=None,
    show_progress=None,
):
    """Return a ``TSDAEResult``: a new SentenceTransformer, adapted to the texts, and its history.

    ``model`` (a SentenceTransformer) is copied and stays as it is. Training happens on its device,
    in float32, on a GPU that has it in bfloat16. Under ``accelerate launch`` each process takes its
    share of every batch on its own device, and the loss is the one that a single process would have
    (dropout aside). Several GPUs: ``accelerate launch --num_processes 4 script.py``. Without MPI
    accelerate starts a single process on the CPU; for two, let torch start them:
    ``accelerate launch --cpu --num_processes 2 -m torch.distributed.run --nproc_per_node 2 script.py``.

    - ``sentences``: a list of texts of the domain. Equal ones count once.
    - ``pairs``: a list of ``(text, text)`` that belong together by the structure of the texts, such as
      (title, body) or (term, definition), for ``pairs_weight``.
    - ``general``: a list of everyday sentences, for ``distil_weight``.
    - ``dev_task``: a RetrievalTask (scored by MRR@10) or SimilarityTask (by Spearman's correlation) that
      shares no question with the training texts. It decides which weights are kept, when to stop
      and how far to go from the start; report scores on another task.
    - ``folder``: where checkpoints go. Called again with the same arguments, a run that was killed
      goes on from its last one; ``resume=False`` deletes them and begins anew. After Ctrl-C or the
      stop button the run is saved first, then ``KeyboardInterrupt`` is raised as always.
    - ``on_progress``: a function called with a ``Progress`` after each step, instead of the bar (in
      Jupyter the figure) that ``show_progress=False`` hides.

    Raises ``TypeError`` for a model that is no SentenceTransformer, a dev task of another kind, or
    an entry that is no text; ``ValueError`` for too few or blank texts (by index), a weight without its
    texts, a dev task whose questions are among the training texts, and a folder that holds another
    run; ``FloatingPointError`` for a loss that is no longer a number, with its step and texts;
    ``OSError`` when a checkpoint cannot be written, which leaves the one before it intact.
    """
    from accelerate import Accelerator

    from course_utils.adaptation.loop import Trainer

    accelerator = Accelerator()
    first = accelerator.is_main_process
    limit = _check(model, config, dev_task)
    corpus = prepare_texts(model.tokenizer, sentences, pairs, general, config, limit, warn=first)
    if dev_task is not None:
        refuse_leak(
            dev_task,
            sentences if config.needs_sentences else [],
            pairs if config.pairs_weight else [],
        )
    if not first:
        on_progress = default_progress(False)
    with _own_generator(model.device, accelerator.device):
        trainer = Trainer(model, corpus, config, dev_task, folder, limit, accelerator)
        trainer.on_progress = on_progress or default_progress(show_progress)
        trainer.begin(resume)
        try:
            trainer.run()
        except KeyboardInterrupt:
            trainer.save()
            raise
        return trainer.finish()


def _check(model, config, dev_task):
    """Refuse what cannot be trained or scored; return how many tokens of a text are used."""
    from course_utils.data.tasks import RetrievalTask, SimilarityTask
    from course_utils.models.fingerprints import is_sentence_transformer

    if not is_sentence_transformer(model):
        raise TypeError(
            f"model is a {type(model).__name__}, not a SentenceTransformer. Pass the result of "
            "load_model(); a remote or wrapped embedder cannot be trained."
        )
    if not callable(getattr(model, "tokenizer", None)):
        raise TypeError(
            f"The tokenizer of this model is a {type(model.tokenizer).__name__}; training needs a "
            "transformer with a tokenizer from the transformers library."
        )
    if not isinstance(config, TSDAEConfig):
        raise TypeError(f"config is a {type(config).__name__}; pass TSDAEConfig(...).")
    if dev_task is not None and not isinstance(dev_task, RetrievalTask | SimilarityTask):
        raise TypeError(
            f"dev_task is a {type(dev_task).__name__}; it can be a RetrievalTask or a SimilarityTask."
        )
    return min(config.max_tokens, model.max_seq_length or config.max_tokens)


@contextmanager
def _own_generator(*devices):
    """Leave torch's global generators as they are found."""
    import torch

    cuda = [device.index or 0 for device in set(devices) if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda):
        yield
