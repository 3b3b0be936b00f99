"""Weights by name: which a run trains, copied, and mixed with those of the start."""

import torch


def trainable(prefix, module, like=None):
    """Return a module's trainable weights by name; with ``like``, those of its names."""
    if module is None:
        return {}
    named = {f"{prefix}.{name}": weight for name, weight in module.named_parameters()}
    if like is not None:
        return {name: named[name].detach() for name in like}
    return {name: weight for name, weight in named.items() if weight.requires_grad}


def copy_into(weights, source):
    """Write the tensors of the same names into the weights."""
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(source[name])


def mix(start, trained, alpha, weights):
    """Write ``(1 - alpha) start + alpha trained`` into the weights (Wortsman et al. 2022, section 3)."""
    with torch.no_grad():
        for name, weight in weights.items():
            begun = start[name].to(trained[name])
            # The ends exactly, not up to rounding.
            mixed = torch.lerp(begun, trained[name], alpha) if 0 < alpha < 1 else None
            weight.copy_(mixed if mixed is not None else trained[name] if alpha else begun)
