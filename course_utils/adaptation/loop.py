"""The training loop: ``Trainer.run`` is all of it, top to bottom.

What a step draws follows from the seed and its number, so a run that was killed and goes on is the
run that was not killed: between steps, weights, optimiser and history are all there is to know.
"""

import copy
import math
import time
from dataclasses import asdict
from functools import cached_property

import torch

from course_utils.adaptation.batches import step_seed
from course_utils.adaptation.checkpoints import (
    clear_unfinished,
    forget_checkpoints,
    read_checkpoint,
    refuse_another_run,
    write_checkpoint,
)
from course_utils.adaptation.decoder import make_decoder
from course_utils.adaptation.dev import dev_score, task_fingerprint
from course_utils.adaptation.objective import Objective
from course_utils.adaptation.progress import Progress
from course_utils.adaptation.result import TSDAEResult, adapted_name
from course_utils.adaptation.weights import copy_into, mix, trainable
from course_utils.encoding.encode import fingerprint
from course_utils.metrics import evaluate

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Trainer:
    """One run. ``run`` is the loop; the rest is what stands in it, in the order of its lines."""

    def __init__(self, model, corpus, config, dev_task, folder, limit, accelerator):
        self.start, self.corpus, self.config, self.dev_task = model, corpus, config, dev_task
        self.folder, self.accelerator = folder, accelerator
        device = accelerator.device if accelerator.num_processes > 1 else model.device
        self.encoder = copy.deepcopy(model).float().to(device).train(config.dropout)
        # A name of its own, else tables could not tell it from the start.
        self.encoder.model_card_data.model_name = adapted_name(model)
        self.decoder = None
        if config.denoising_weight:
            ids = {*corpus.vocabulary.tolist(), *model.tokenizer.all_special_ids}
            kept = None if config.vocabulary == "whole" else torch.tensor(sorted(ids))
            self.decoder = make_decoder(
                self.encoder, config.decoder, layers=config.layers, vocabulary=kept,
                max_tokens=limit, seed=config.seed,
            ).to(device)  # fmt: skip
        self.objective = Objective(
            self.encoder, self.decoder, corpus, config, accelerator, limit, model
        )
        self.steps = config.max_steps or config.epochs * self.objective.epoch_steps
        self.frozen = config.frozen_steps(self.steps)
        self.evaluate_every = config.evaluate_every or max(1, self.steps // 10)

        self.encoder_weights = trainable("encoder", self.encoder)
        self.decoder_weights = trainable("decoder", self.decoder)
        rates = (self.encoder_weights, config.learning_rate), (
            self.decoder_weights, config.decoder_learning_rate,
        )  # fmt: skip
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [*weights.values()], "lr": lr, "peak": lr}
                for weights, lr in rates
                if weights
            ],
            weight_decay=0.0,
            fused=device.type in ("cpu", "cuda"),
        )
        self.step, self.history, self.before = 0, [_row(0)], None
        self.best_score, self.best, self.misses = -math.inf, None, 0
        self.whole = True  # between steps: what is in memory belongs to one step

    def run(self):
        """Train from the current step to the end, or until the dev score no longer rises."""
        config = self.config
        while True:
            self.score_if_due()
            self.save_if_due()
            self.on_progress(Progress(self.step, self.steps, self.history, self.ended))
            if self.ended:
                break

            began = time.perf_counter()
            frozen = self.step < self.frozen
            torch.manual_seed(step_seed(config.seed, self.step, self.accelerator.process_index))
            # forward
            loss, parts = self.objective(self.step, frozen=frozen)
            value = sum(getattr(config, _WEIGHTS[name]) * part for name, part in parts.items())
            self.refuse_nan("loss", value)
            # backward
            self.optimiser.zero_grad(set_to_none=True)
            if loss.requires_grad:  # it does not where a process got no text of a small batch
                loss.backward()
            weights = [*({} if frozen else self.encoder_weights).values()]
            weights += self.decoder_weights.values()
            self.sum_gradients(weights)
            norm = torch.nn.utils.clip_grad_norm_(weights, config.clip).item()
            self.refuse_nan("gradient", norm)
            # step
            rate = self.set_rates()
            self.whole = False
            self.optimiser.step()
            self.step += 1
            self.history.append(
                _row(
                    self.step,
                    epoch=(self.step - 1) // self.objective.epoch_steps,
                    loss=value,
                    **parts,
                    gradient=norm,
                    learning_rate=rate,
                    texts=self.objective.count(self.step - 1),
                    seconds=time.perf_counter() - began,
                )
            )
            self.whole = True

    @property
    def ended(self):
        """Whether all steps are done, or the dev score has not risen for ``patience`` scores."""
        patience = self.config.patience
        return self.step >= self.steps or (patience is not None and self.misses >= patience)

    def score_if_due(self):
        """Score the weights of this step on the dev task, and keep them if they are the best."""
        due = self.step % self.evaluate_every == 0 or self.step == self.steps
        same = 0 < self.step <= self.frozen  # the encoder is still that of the start
        if self.dev_task is None or not due or same or self.history[-1]["dev"] is not None:
            return
        evaluation = self.evaluate(self.encoder if self.step else self.start)
        score = self.agreed(dev_score(evaluation))
        self.whole = False
        if self.step == 0:
            self.before = evaluation
        else:
            better = score > self.best_score
            self.misses = 0 if better else self.misses + 1
            if better:
                self.best_score = score
                self.best = {n: w.detach().clone() for n, w in self.encoder_weights.items()}
        self.history[-1]["dev"] = score
        self.whole = True

    def save_if_due(self):
        """Write a checkpoint every ``checkpoint_every`` steps and at the end."""
        if self.step and (self.step % self.config.checkpoint_every == 0 or self.ended):
            self.save()

    def refuse_nan(self, what, value):
        """Stop where a number has ceased to be one, before it reaches the weights."""
        if math.isfinite(value):
            return
        texts = self.objective.texts(self.step)
        shown = "; ".join(repr(t if len(t) <= 60 else t[:57] + "...") for t in texts[:2])
        raise FloatingPointError(
            f"The {what} is {value} at step {self.step + 1} of {self.steps}, on a batch of "
            f"{len(texts)} texts that begins with {shown}. Look at these texts; if they are sound, "
            "lower learning_rate or clip."
        )

    def sum_gradients(self, weights):
        """Add up the gradients of all processes: each holds its own share of the one loss."""
        if self.accelerator.num_processes == 1:
            return
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        whole = self.accelerator.reduce(torch.cat([part.flatten() for part in parts]), "sum")
        for weight, grad in zip(weights, whole.split([w.numel() for w in weights]), strict=True):
            weight.grad = grad.view_as(weight)

    def set_rates(self):
        """Set the learning rates of this step; return the encoder's, 0 while it is frozen."""
        encoder = decoder = ramp(self.step, self.steps, self.config.warmup_share)
        if self.frozen:
            later, left = self.step - self.frozen, self.steps - self.frozen
            encoder = ramp(later, left, self.config.warmup_share) if later >= 0 else 0.0
        for group, factor in zip(self.optimiser.param_groups, (encoder, decoder), strict=False):
            group["lr"] = group["peak"] * factor
        return self.config.learning_rate * encoder

    def evaluate(self, model):
        """Return a model's ``Evaluation`` on the dev task."""
        return evaluate(model, self.dev_task, k=10, show_progress_bar=False)

    def agreed(self, score):
        """Return the first process's score: a last digit must not make processes part ways."""
        own = score if self.accelerator.is_main_process else 0.0
        # On MPS there is no float64, and only one process.
        if self.accelerator.num_processes == 1:
            return own
        told = torch.tensor(own, dtype=torch.float64, device=self.encoder.device)
        return self.accelerator.reduce(told, "sum").item()

    def begin(self, resume):
        """Go on from the folder's checkpoint if there is one, after checking that it is this run's."""
        if self.folder is None:
            return
        if self.accelerator.is_main_process:
            (clear_unfinished if resume else forget_checkpoints)(self.folder)
        self.accelerator.wait_for_everyone()
        kept = read_checkpoint(self.folder)
        if kept is None:
            return
        facts, tensors = kept
        refuse_another_run(self.identity, facts["run"], self.folder)
        self.step, self.history, self.misses = facts["step"], facts["history"], facts["misses"]
        if facts["best_score"] is not None:
            self.best_score = facts["best_score"]
            self.best = {n: w.to(self.encoder.device) for n, w in tensors["best"].items()}
        weights = self.encoder_weights | self.decoder_weights
        copy_into(weights, tensors["weights"])
        for name, held in tensors["optimiser"].items():
            weight, slot = name.rsplit("|", 1)
            self.optimiser.state[weights[weight]][slot] = held.to(self.encoder.device)

    def save(self):
        """Write a checkpoint, if there is a folder and no step is half done."""
        if self.folder is None or not self.accelerator.is_main_process or not self.whole:
            return
        weights = self.encoder_weights | self.decoder_weights
        state = self.optimiser.state
        tensors = {
            "weights": weights,
            "optimiser": {
                f"{name}|{slot}": held
                for name, weight in weights.items()
                for slot, held in state.get(weight, {}).items()
            },
        }
        if self.best is not None:
            tensors["best"] = self.best
        facts = {
            "run": self.identity,
            "history": self.history,
            "best_score": self.best_score if self.best is not None else None,
            "misses": self.misses,
        }
        write_checkpoint(self.folder, self.step, tensors, facts)

    @cached_property
    def identity(self):
        """Return what two runs must share for one to go on where the other stopped."""
        config = asdict(self.config)
        # How often a run is saved, and how its end is mixed with its start, change no step of it.
        del config["checkpoint_every"], config["interpolate"]
        return {
            **config,
            **self.corpus.fingerprints,
            "model": fingerprint(self.start)[:16],
            "dev task": task_fingerprint(self.dev_task),
        }

    def finish(self):
        """Return the result: the best weights, mixed with those of the start as the config says."""
        if self.best is not None:
            copy_into(self.encoder_weights, self.best)
        trained = {n: w.detach().clone() for n, w in self.encoder_weights.items()}
        start = trainable("encoder", self.start, like=trained)
        choice = self.config.interpolate
        by_score = self.dev_task is not None and choice is True
        alphas = ALPHAS if by_score else (1.0 if isinstance(choice, bool) else float(choice),)
        found = {}
        self.optimiser.zero_grad(set_to_none=True)
        self.encoder.eval()
        if self.dev_task is not None:
            found[0.0] = self.before or self.evaluate(self.start)
            for alpha in alphas:
                mix(start, trained, alpha, self.encoder_weights)
                found[alpha] = self.evaluate(self.encoder) if alpha else found[0.0]
        scores = {alpha: self.agreed(dev_score(one)) for alpha, one in found.items()}
        # The first of equals: as near to the start as a score allows.
        alpha = max(scores, key=scores.get) if by_score else alphas[0]
        mix(start, trained, alpha, self.encoder_weights)
        return TSDAEResult.of(self, alpha, scores, found)


_WEIGHTS = {
    "denoising": "denoising_weight",
    "contrast": "contrast_weight",
    "pairs": "pairs_weight",
    "distillation": "distil_weight",
}


def ramp(done, total, warmup_share):
    """Return the factor of the learning rate after ``done`` of ``total`` steps: up, then down to 0.

    >>> [round(ramp(done, 10, 0.2), 2) for done in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.12]
    """
    rising = max(1, round(total * warmup_share))
    return min((done + 1) / rising, (total - done) / max(1, total - rising), 1.0)


def _row(step, **told):
    """Return a row of the history, with every column, None where there is nothing to tell."""
    blank = dict.fromkeys((
        "epoch", "loss", "denoising", "contrast", "pairs", "distillation", "dev", "gradient",
        "learning_rate", "texts", "seconds",
    ))  # fmt: skip
    return {"step": step, **blank, **told}
