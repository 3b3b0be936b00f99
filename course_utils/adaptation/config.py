"""What a training run is told: every option in one frozen value, checked when it is made."""

import math
from dataclasses import dataclass, fields

# Chosen on 586 medical questions; benchmarks/adaptation.py reports on others. A first choice (learning
# rate 5e-4, 64 pairs a batch) was seen on the test as well and was weaker there: the options below
# come from the 586 alone.
_FOR_PAIRS = {
    "denoising_weight": 0.0,
    "pairs_weight": 1.0,
    "distil_weight": 30.0,
    "temperature": 0.07,
    "batch_size": 96,
    "learning_rate": 2e-4,
}


@dataclass(frozen=True)
class TSDAEConfig:
    """The options of ``train_tsdae``; each has a default, so name only what you change.

    What is learnt. Three losses, each with a weight; a weight of 0 leaves its loss out:

    - ``denoising_weight``: rebuild a sentence from the vector of its damaged copy (Wang, Reimers
      and Gurevych 2021, equation 1). ``decoder`` is ``"light"`` (``layers`` layers of its own) or
      ``"exact"`` (the paper's, tied to the encoder); ``vocabulary`` is ``"corpus"`` (the decoder
      chooses among the tokens of the training sentences) or ``"whole"``; ``noise`` and ``rate``
      are ``kind`` and ``rate`` of ``add_noise``.
    - ``contrast_weight``: the vectors of two damaged copies of a sentence shall be nearest to each
      other among those of the batch (InfoNCE; van den Oord et al. 2018, equation 4).
    - ``pairs_weight``: the same for the two texts of a pair, each searched among those of the other
      side (multiple negatives ranking; Henderson et al. 2017, section 4.4, in both directions).

    Contrast and pairs take cosines divided by ``temperature``. ``distil_weight``: the cosines among
    general sentences shall stay as the start model has them.

    How long. ``max_steps`` steps of ``batch_size`` sentences, or (``None``) ``epochs`` times
    through the sentences. Sentences are cut after ``max_tokens`` tokens.

    How fast. AdamW; ``learning_rate`` for the encoder and ``decoder_learning_rate`` for weights that
    only the decoder has. Both rise for a share ``warmup_share`` of the steps and then fall linearly
    to 0. The gradient's length is cut at ``clip``. For the first ``freeze_encoder_steps`` steps only
    a light decoder learns (``None``: a tenth of the steps, at most 200; 0 with an exact decoder).
    ``dropout`` switches the encoder's own dropout on.

    How it is watched. The dev task is scored every ``evaluate_every`` steps (``None``: ten times);
    after ``patience`` scores in a row that are no better than the best, training stops (``None``:
    never). ``interpolate``: mix the weights with those of the start; ``True`` chooses the share on
    the dev task (without one: 1, no mixing), a number is the share of the trained weights.
    ``checkpoint_every`` steps the run is saved, if it has a folder.

    ``seed`` decides batches, noise, dropout and the decoder's first weights.

    Raises ``ValueError`` for a value that cannot be, naming the option.

    >>> TSDAEConfig(denoising_weight=0, contrast_weight=1).terms
    ('contrast',)
    >>> TSDAEConfig.for_pairs(max_steps=500).terms
    ('pairs',)
    """

    decoder: str = "light"
    layers: int = 1
    vocabulary: str = "corpus"
    noise: str = "delete"
    rate: float = 0.6
    denoising_weight: float = 1.0
    contrast_weight: float = 0.0
    pairs_weight: float = 0.0
    distil_weight: float = 0.0
    temperature: float = 0.05
    batch_size: int = 32
    max_tokens: int = 64
    max_steps: int | None = None
    epochs: int = 1
    learning_rate: float = 3e-5
    decoder_learning_rate: float = 5e-4
    warmup_share: float = 0.1
    clip: float = 1.0
    freeze_encoder_steps: int | None = None
    dropout: bool = False
    evaluate_every: int | None = None
    patience: int | None = None
    interpolate: bool | float = True
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self):
        from course_utils.adaptation.noise import KINDS

        _one_of("decoder", self.decoder, ("light", "exact"))
        _one_of("vocabulary", self.vocabulary, ("corpus", "whole"))
        _one_of("noise", self.noise, KINDS)
        for name in ("layers", "batch_size", "epochs", "checkpoint_every"):
            _whole(name, getattr(self, name), 1)
        for name in ("max_steps", "evaluate_every", "patience"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        _whole("max_tokens", self.max_tokens, 3)  # two special tokens and one of the text
        _whole("seed", self.seed, 0)
        for field in fields(self):
            if field.name.endswith("_weight"):
                _between(field.name, getattr(self, field.name), 0, math.inf)
        for name in ("temperature", "learning_rate", "decoder_learning_rate", "clip"):
            _between(name, getattr(self, name), 0, math.inf, above=True)
        for name in ("rate", "warmup_share", "interpolate"):
            _between(name, getattr(self, name), 0, 1)
        if not self.terms:
            raise ValueError(
                "Every weight is 0, so there is nothing to learn. Set denoising_weight, "
                "contrast_weight or pairs_weight above 0."
            )
        if self.freeze_encoder_steps is not None:
            _whole("freeze_encoder_steps", self.freeze_encoder_steps, 0)
            self._check_freezing()

    def _check_freezing(self):
        if self.freeze_encoder_steps and (self.decoder == "exact" or not self.denoising_weight):
            raise ValueError(
                f"freeze_encoder_steps is {self.freeze_encoder_steps}: with the encoder frozen only "
                "a light decoder can learn. Leave it out, or use decoder='light' and a "
                "denoising_weight above 0."
            )
        if self.max_steps is not None and self.freeze_encoder_steps >= self.max_steps:
            raise ValueError(
                f"freeze_encoder_steps is {self.freeze_encoder_steps} of max_steps = "
                f"{self.max_steps}: the encoder would never learn. Freeze for fewer steps."
            )

    @classmethod
    def for_pairs(cls, **changes):
        """Return the options that our measurements recommend where texts contain pairs.

        Pairs alone, at a mild temperature, with everyday sentences (``general``) held in place.
        ``changes`` are options by name. The numbers behind it are in the table of
        ``course_utils.adaptation.evidence``.

        >>> TSDAEConfig.for_pairs(max_steps=500).max_steps
        500
        """
        return cls(**_FOR_PAIRS | changes)

    @property
    def terms(self):
        """The names of the losses that take part, without distillation, which teaches nothing."""
        weights = {
            "denoising": self.denoising_weight,
            "contrast": self.contrast_weight,
            "pairs": self.pairs_weight,
        }
        return tuple(name for name, weight in weights.items() if weight)

    @property
    def needs_sentences(self):
        """Whether a loss of this run looks at single sentences."""
        return self.terms != ("pairs",)

    def frozen_steps(self, steps):
        """Return for how many of ``steps`` steps the encoder is held still."""
        if self.freeze_encoder_steps is not None:
            return min(self.freeze_encoder_steps, steps - 1)
        if self.decoder == "exact" or "denoising" not in self.terms:
            return 0
        return min(steps // 10, 200)


def _one_of(name, value, known):
    if value not in known:
        raise ValueError(f"{name} is {value!r}; it can be {' or '.join(map(repr, known))}.")


def _whole(name, value, least):
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; it is a whole number from {least} up.")


def _between(name, value, low, high, above=False):
    if not isinstance(value, int | float) or not (low <= value <= high) or (above and value == low):
        end = "" if high == math.inf else f" and at most {high}"
        raise ValueError(
            f"{name} is {value!r}; it is a number {'above' if above else 'of at least'} {low}{end}."
        )
