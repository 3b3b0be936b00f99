"""Weights by name: which a run trains, copied, and mixed with those of the start."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from course_utils.models.roles import underlying

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.result import TrainingResult


def interpolate_models(
    start: SentenceTransformer, trained: SentenceTransformer | TrainingResult, alpha: float
) -> SentenceTransformer:
    """Return a new SentenceTransformer with the weights ``(1 - alpha) start + alpha trained``.

    ``start`` and ``trained`` are SentenceTransformers (or a ``TrainingResult`` for ``trained``), one
    adapted from the other; neither is changed. ``alpha`` from 0 to 1 is the share of the
    trained weights. What lies between is often better than either end on what both can do (Wortsman
    et al. 2022, *Robust fine-tuning of zero-shot models*, section 3).

    Raises ``ValueError`` for a share outside 0 to 1, and for models whose weights differ in name or
    shape, naming one.
    """
    end: SentenceTransformer = underlying(trained)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it is the share of the trained weights, from 0 to 1.")
    shapes = [{name: tuple(w.shape) for name, w in one.named_parameters()} for one in (start, end)]
    for name in shapes[0].keys() | shapes[1].keys():
        if shapes[0].get(name) != shapes[1].get(name):
            raise ValueError(
                f"The weights {name!r} have the shape {shapes[0].get(name)} in the start and "
                f"{shapes[1].get(name)} in the trained model: the one was not adapted from the other."
            )
    mixed = copy.deepcopy(end)
    weights = {name: w.detach() for name, w in end.named_parameters()}
    mix(dict(start.named_parameters()), weights, alpha, dict(mixed.named_parameters()))
    return mixed


def trainable(
    prefix: str, module: torch.nn.Module | None, like: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Return a module's trainable weights by name; with ``like``, those of its names."""
    if module is None:
        return {}
    named = {f"{prefix}.{name}": weight for name, weight in module.named_parameters()}
    if like is not None:
        return {name: named[name].detach() for name in like}
    return {name: weight for name, weight in named.items() if weight.requires_grad}


def copy_into(weights: dict[str, torch.Tensor], source: dict[str, torch.Tensor]) -> None:
    """Write the tensors of the same names into the weights."""
    import torch

    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(source[name])


def mix(
    start: dict[str, torch.Tensor],
    trained: dict[str, torch.Tensor],
    alpha: float,
    weights: dict[str, torch.Tensor],
) -> None:
    """Write ``(1 - alpha) start + alpha trained`` into the weights (Wortsman et al. 2022, section 3)."""
    import torch

    with torch.no_grad():
        for name, weight in weights.items():
            begun = start[name].to(trained[name])
            # The ends exactly, not up to rounding.
            mixed = torch.lerp(begun, trained[name], alpha) if 0 < alpha < 1 else None
            weight.copy_(mixed if mixed is not None else trained[name] if alpha else begun)
