"""The training loop: ``Trainer.run`` is all of it, top to bottom.

What a step draws follows from the seed and its number, so a run that was killed and goes on is the
run that was not killed: between steps, weights, optimiser and history are all there is to know.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from course_utils.adaptation.batches import step_seed
from course_utils.adaptation.objective import Batch, Objective
from course_utils.adaptation.weights import copy_into, trainable

_CLIP = 1.0  # the length that a gradient is cut to


class Trainer:
    """One run over an objective.

    ``callbacks`` are called with the trainer, in order, before the first step and after each: what
    watches a run, scores it and saves it hangs there. ``step`` of ``steps`` are done; ``history``
    holds a row for each, and row 0 for the start.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective, self.config = objective, objective.config
        self.accelerator, self.encoder = objective.accelerator, objective.encoder
        self.callbacks: list[Callable[[Trainer], Any]] = []
        self.steps = self.config.max_steps or self.config.epochs * objective.epoch_steps
        self.frozen = objective.frozen_steps(self.steps)
        self.encoder_weights = trainable("encoder", self.encoder)
        self.decoder_weights = trainable("decoder", objective.decoder)
        groups = [
            (self.encoder_weights, self.config.learning_rate),
            (self.decoder_weights, objective.decoder_rate),
        ]
        self.optimiser = torch.optim.AdamW(
            [{"params": [*held.values()], "lr": lr, "peak": lr} for held, lr in groups if held],
            weight_decay=0.0,
            fused=objective.device.type in ("cpu", "cuda"),
        )
        self.step, self.history = 0, [self._row(0)]
        self.whole = True  # whether all that is in memory belongs to one step

    def run(self) -> None:
        """Train from the current step to the last."""
        self._call_back()
        while self.step < self.steps:
            began = time.perf_counter()
            frozen = self.step < self.frozen
            torch.manual_seed(
                step_seed(self.config.seed, self.step, self.accelerator.process_index)
            )

            # fetch
            batch = self.objective.fetch(self.step)

            # forward
            loss, told = self.objective.forward(batch, frozen=frozen)
            self._refuse_nan("loss", told["loss"], batch)

            # backward
            self.optimiser.zero_grad(set_to_none=True)
            if loss.requires_grad:  # it does not where a process got no text of a small batch
                loss.backward()
            weights = [] if frozen else [*self.encoder_weights.values()]
            weights += self.decoder_weights.values()
            self._sum_gradients(weights)
            length = torch.nn.utils.clip_grad_norm_(weights, _CLIP).item()
            self._refuse_nan("gradient", length, batch)

            # step
            rate = self._set_rates()
            with self.changing():
                self.optimiser.step()
                self.step += 1
                row = self._row(self.step, **told, gradient=length, learning_rate=rate)
                row["epoch"] = (self.step - 1) // self.objective.epoch_steps
                row["texts"] = len(batch.rows)
                row["seconds"] = time.perf_counter() - began
                self.history.append(row)

            # callback
            self._call_back()

    def _call_back(self):
        for callback in self.callbacks:
            callback(self)

    def _row(self, step, **told):
        """Return a row of the history, with every column, None where there is nothing to tell."""
        columns = (
            "epoch", "loss", *self.objective.parts, "dev", "gradient", "learning_rate", "texts",
            "seconds",
        )  # fmt: skip
        return {"step": step, **dict.fromkeys(columns), **told}

    def _refuse_nan(self, what: str, value: float, batch: Batch):
        """Stop where a number has ceased to be one, before it reaches the weights."""
        if math.isfinite(value):
            return
        shown = "; ".join(repr(t if len(t) <= 60 else t[:57] + "...") for t in batch.texts[:2])
        raise FloatingPointError(
            f"The {what} is {value} at step {self.step + 1} of {self.steps}, on a batch of "
            f"{len(batch.texts)} texts that begins with {shown}. Look at these texts; if they are "
            "sound, lower learning_rate."
        )

    def _sum_gradients(self, weights):
        """Add up the gradients of all processes: each holds its own share of the one loss."""
        if self.accelerator.num_processes == 1:
            return
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        whole = self.accelerator.reduce(torch.cat([part.flatten() for part in parts]), "sum")
        for weight, grad in zip(weights, whole.split([w.numel() for w in weights]), strict=True):
            weight.grad = grad.view_as(weight)

    def _set_rates(self):
        """Set the learning rates of this step; return the encoder's, 0 while it is frozen."""
        share = self.config.warmup_share
        encoder = decoder = ramp(self.step, self.steps, share)
        if self.frozen:
            later, left = self.step - self.frozen, self.steps - self.frozen
            encoder = ramp(later, left, share) if later >= 0 else 0.0
        for group, factor in zip(self.optimiser.param_groups, (encoder, decoder), strict=False):
            group["lr"] = group["peak"] * factor
        return self.config.learning_rate * encoder

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Mark the run as half-way between two steps until the block is done: not to be saved."""
        self.whole = False
        yield
        self.whole = True

    def agreed(self, value: float) -> float:
        """Return the first process's value: a last digit must not make processes part ways."""
        if self.accelerator.num_processes == 1:  # on MPS always, which has no float64
            return value
        own = value if self.accelerator.is_main_process else 0.0
        told = torch.tensor(own, dtype=torch.float64, device=self.objective.device)
        return self.accelerator.reduce(told, "sum").item()

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the tensors that a run goes on from: weights, and what the optimiser remembers."""
        weights = self.encoder_weights | self.decoder_weights
        remembered = {
            f"{name}|{slot}": held
            for name, weight in weights.items()
            for slot, held in self.optimiser.state.get(weight, {}).items()
        }
        return {"weights": dict(weights), "optimiser": remembered}

    def restore(
        self, step: int, history: list[dict], state: dict[str, dict[str, torch.Tensor]]
    ) -> None:
        """Take up a run after ``step``, from what ``state`` returned there."""
        self.step, self.history = step, history
        weights = self.encoder_weights | self.decoder_weights
        copy_into(weights, state["weights"])
        for name, held in state["optimiser"].items():
            weight, slot = name.rsplit("|", 1)
            self.optimiser.state[weights[weight]][slot] = held.to(self.objective.device)


def ramp(done: int, total: int, warmup_share: float) -> float:
    """Return the factor of the learning rate after ``done`` of ``total`` steps: up, then down to 0.

    >>> [round(ramp(done, 10, 0.2), 2) for done in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.12]
    """
    rising = max(1, round(total * warmup_share))
    return min((done + 1) / rising, (total - done) / max(1, total - rising), 1.0)
