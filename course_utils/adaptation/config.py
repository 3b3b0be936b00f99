"""What a training run is told: every option in one frozen value, checked when it is made."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from course_utils.adaptation.noise import KINDS


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What both trainings are told: how long, how fast, how it is watched and kept.

    How long. ``max_steps`` steps of ``batch_size`` sentences or pairs, or (``None``) ``epochs`` times
    through all of them. Texts are cut after ``max_tokens`` tokens; a prompt of the model's comes on
    top.

    How fast. AdamW; ``learning_rate`` rises for a share ``warmup_share`` of the steps and then falls
    linearly to 0. The gradient's length is cut at 1. ``bfloat16``: compute the vectors in numbers of
    16 bits, while weights and losses stay in float32; ``None`` does so where the processor has them
    (see ``has_bfloat16``), ``False`` gives the same digits on every processor.

    How it is watched. The dev task is scored every ``evaluate_every`` steps (``None``: ten times), and
    the best weights are kept. ``interpolate`` says how much of them is in the result, the rest being
    the weights of the start: ``"auto"`` takes the share that scores best on the dev task (without
    one: all), a number from 0 to 1 is that share, and ``None`` takes the trained weights as they are.
    Every ``checkpoint_every`` steps the run is saved, if it has a folder.

    ``seed`` decides batches, noise and the decoder's first weights.

    Raises ``ValueError`` for a value that cannot be, naming the option.
    """

    max_steps: int | None = None
    epochs: int = 1
    batch_size: int = 32
    max_tokens: int = 64
    learning_rate: float = 3e-5
    warmup_share: float = 0.1
    bfloat16: bool | None = None
    evaluate_every: int | None = None
    interpolate: str | float | None = "auto"
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "checkpoint_every"):
            _whole(name, getattr(self, name), 1)
        for name in ("max_steps", "evaluate_every"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        _whole("max_tokens", self.max_tokens, 3)  # two special tokens and one of the text
        _whole("seed", self.seed, 0)
        _between("learning_rate", self.learning_rate, 0, math.inf, above=True)
        _between("warmup_share", self.warmup_share, 0, 1)
        if self.bfloat16 not in (None, True, False):
            raise ValueError(f"bfloat16 is {self.bfloat16!r}; it can be None, True or False.")
        if self.interpolate not in ("auto", None) and not _is_number(self.interpolate, 0, 1):
            raise ValueError(
                f'interpolate is {self.interpolate!r}; it can be "auto" (the share that scores best '
                "on the dev task), None (the trained weights as they are), or the share of the "
                "trained weights, a number from 0 to 1."
            )


@dataclass(frozen=True, kw_only=True)
class TSDAEConfig(TrainingConfig):
    """The options of ``train_tsdae``; each has a default, so name only what you change.

    ``objective`` is what is minimised over damaged copies of the sentences:

    - ``"denoising"``: rebuild a sentence from the vector of its damaged copy (Wang, Reimers and
      Gurevych 2021, equation 1). ``decoder`` is ``"light"`` (one layer of its own) or ``"exact"``
      (the paper's, tied to the encoder); both choose among the tokens that the sentences hold. Its
      own weights learn at ``decoder_learning_rate``. A light decoder begins alone: for a tenth of the
      steps, at most 200, the encoder is held still.
    - ``"contrast"``: the vectors of two damaged copies of a sentence shall be nearest to each other
      among those of the batch (InfoNCE; van den Oord et al. 2018, equation 4). No decoder is used.

    ``noise`` and ``rate`` are ``kind`` and ``rate`` of ``add_noise``. All other options are those of
    ``TrainingConfig``.

    Raises ``ValueError`` for a value that cannot be, naming the option.

    >>> TSDAEConfig(max_steps=500).decoder
    'light'
    """

    objective: str = "denoising"
    decoder: str = "light"
    noise: str = "delete"
    rate: float = 0.6
    decoder_learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("objective", self.objective, ("denoising", "contrast"))
        _one_of("decoder", self.decoder, ("light", "exact"))
        _one_of("noise", self.noise, KINDS)
        _between("rate", self.rate, 0, 1)
        _between("decoder_learning_rate", self.decoder_learning_rate, 0, math.inf, above=True)


# The defaults were chosen on 586 medical questions; benchmarks/ladder.py reports on others.
@dataclass(frozen=True, kw_only=True)
class PairsConfig(TrainingConfig):
    """The options of ``train_pairs``; the defaults are what our measurements recommend.

    The text of either side shall be nearest to its own partner among those of the batch (multiple
    negatives ranking; Henderson et al. 2017, section 4.4, in both directions), by cosines divided by
    ``temperature``. ``distil_weight``: how much it counts that the cosines among ``general`` sentences
    stay as the start model has them; without such sentences it counts nothing. All other options are
    those of ``TrainingConfig``. The numbers behind the defaults are in the table of
    ``course_utils.adaptation.evidence``.

    Raises ``ValueError`` for a value that cannot be, naming the option.

    >>> PairsConfig(max_steps=500).batch_size
    96
    """

    objective: ClassVar[str] = "pairs"

    temperature: float = 0.07
    distil_weight: float = 30.0
    batch_size: int = 96
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        _between("temperature", self.temperature, 0, math.inf, above=True)
        _between("distil_weight", self.distil_weight, 0, math.inf)


def _one_of(name: str, value: Any, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; it can be {' or '.join(map(repr, known))}.")


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it is a whole number from {least} up.")


def _between(name: str, value: Any, low: float, high: float, above: bool = False) -> None:
    if not _is_number(value, low, high) or (above and value == low):
        end = "" if high == math.inf else f" and at most {high}"
        raise ValueError(
            f"{name} is {value!r}; it is a number {'above' if above else 'of at least'} {low}{end}."
        )


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
