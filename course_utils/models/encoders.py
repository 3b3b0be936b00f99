"""A transformer's layers for encoding alone: in 16 bits by torch, or run by OpenVINO.

What OpenVINO reads is exported once to the cache folder and checked each time it is read. torch computes one operation after the other; OpenVINO sees all of them first, joins some, and lays
the weights out for the processor at hand. Whatever comes after the layers (pooling, unit length)
stays in torch.
"""

import copy
import hashlib
import json
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from course_utils.files import restored, whole_folder
from course_utils.models.files import require

_GRAPH, _WEIGHTS, _CONTENTS = "encoder.xml", "encoder.bin", "contents.json"
_TOGETHER = 64  # activations that share one scale in int8; all of a row's make vectors worse


class InferenceEncoder(nn.Module):
    """The layers of a transformer in a form that only encodes: it refuses to be trained or saved.

    ``config`` is the transformer's configuration, ``setting`` says how its layers are computed. Both
    are part of the model's fingerprint.
    """

    def __init__(self, config: Any, setting: str) -> None:
        super().__init__()
        self.config = config
        self.setting = setting
        self.training = False

    def train(self, mode: bool = True) -> "InferenceEncoder":
        """Return itself for ``mode=False``; raises ``ValueError`` otherwise, with the way out."""
        if mode:
            raise ValueError(
                f"This model computes in {self.setting} and cannot be trained. Load it with "
                "load_model(name), without precision, train that, and make the result fast."
            )
        super().train(False)
        return self

    def save_pretrained(self, *_: Any, **__: Any) -> None:
        """Raise ``ValueError``: what would be saved is less than what it was made from."""
        raise ValueError(
            f"This model computes in {self.setting} and is not saved. Save the one that "
            'load_model(name) gives, without precision; load_model(folder, precision="fast") makes '
            "it fast again."
        )


class HalfEncoder(InferenceEncoder):
    """A copy of a transformer's layers with weights of 16 bits, which gives float32."""

    def __init__(self, layers: Any, dtype: torch.dtype) -> None:
        super().__init__(layers.config, str(dtype).removeprefix("torch."))
        self.layers = copy.deepcopy(layers).to(dtype).eval().requires_grad_(False)

    def forward(self, **features: Any) -> dict[str, torch.Tensor]:
        """Return ``last_hidden_state``, one float32 vector per token: (n, tokens, d)."""
        return {"last_hidden_state": self.layers(**features)["last_hidden_state"].float()}


class CompiledEncoder(InferenceEncoder):
    """The layers of a transformer, compiled by OpenVINO for this processor and any shape of batch."""

    def __init__(
        self, config: Any, setting: str, weights: str, names: list[str], nbytes: int, compiled: Any
    ) -> None:
        super().__init__(config, setting)
        self.weights = weights  # the fingerprint of what was exported, thus part of the model's own
        self.names = names
        self.nbytes = nbytes  # of the weights, which torch does not see
        self._compiled = compiled

    def forward(self, **features: Any) -> dict[str, torch.Tensor]:
        """Return ``last_hidden_state``, one float32 vector per token: (n, tokens, d)."""
        inputs = [features[name].cpu().numpy() for name in self.names]
        # A request of its own for every call, so that two threads never share one.
        hidden = self._compiled.create_infer_request().infer(inputs)[0]
        return {"last_hidden_state": torch.from_numpy(hidden).to(features[self.names[0]].device)}

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledEncoder":
        return self  # nothing in it ever changes


def openvino_version() -> str | None:
    """Return the version of the installed OpenVINO, None where there is none. Imports nothing."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def compiled_encoder(
    transformer: Any,
    features: dict[str, Any],
    weights: str,
    folder: Path,
    kind: Literal["float32", "bfloat16", "int8"],
) -> CompiledEncoder:
    """Return the layers of ``transformer``, a module of sentence-transformers, compiled.

    ``features`` are those of some texts of unlike length, to trace the layers by; ``weights`` is the
    fingerprint of the model; ``folder`` keeps the export, which is made where it is missing or where
    a file's SHA-256 is not the one that was written down. The layers are computed in ``kind``:
    ``"int8"`` rounds each row of weights to 256 levels, once, and 64 activations at a time while it
    computes, wherever the processor has instructions for that.

    Raises ``ImportError`` with the line to type where OpenVINO is not installed, and what OpenVINO
    raises for layers that it cannot read.
    """
    openvino = _openvino()
    names = _whole_export(folder)
    if names is None:
        names = [name for name in features if torch.is_tensor(features[name])]
        _export(openvino, transformer.model, {name: features[name] for name in names}, folder)
    core = openvino.Core()
    graph = core.read_model(folder / _GRAPH)
    if kind == "int8":
        _round_weights(openvino, graph)
    compiled = core.compile_model(
        graph,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if kind == "bfloat16" else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _TOGETHER if kind == "int8" else 0,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # else two processes would wait for one core
        },
    )
    setting = f"OpenVINO {openvino_version()} {kind}"
    constants = (node for node in graph.get_ops() if node.get_type_name() == "Constant")
    nbytes = sum(node.get_byte_size() for node in constants) // (2 if kind == "bfloat16" else 1)
    return CompiledEncoder(transformer.model.config, setting, weights, names, nbytes, compiled)


def _openvino():
    """Import OpenVINO without its reports: its import alone would send usage data to its makers."""
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None
    try:
        return require("openvino", "fast", "Encoding through OpenVINO")
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]


def _export(openvino, layers, features, folder):
    from transformers.utils import logging

    told = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: shapes are followed, as the check shows
            graph = openvino.convert_model(
                _Traced(layers, list(features)), example_input=tuple(features.values())
            )
    finally:
        logging.set_verbosity(told)
    if len(graph.inputs) != len(features):
        raise ValueError(f"The layers use {len(graph.inputs)} of {len(features)} inputs.")
    with whole_folder(folder) as fresh:
        openvino.save_model(graph, fresh / _GRAPH, compress_to_fp16=False)
        contents = {name: _sha256(fresh / name) for name in (_GRAPH, _WEIGHTS)}
        told = {"inputs": list(features), "sha256": contents}
        (fresh / _CONTENTS).write_text(json.dumps(told, indent=1), "utf-8")


def _whole_export(folder):
    """Return the names of the export's inputs, or None where a file is missing or has changed."""
    try:
        told = json.loads((restored(folder) / _CONTENTS).read_text("utf-8"))
        whole = all(_sha256(folder / name) == told["sha256"][name] for name in (_GRAPH, _WEIGHTS))
        return list(told["inputs"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Traced(nn.Module):
    """A transformer that takes its inputs in order and gives one tensor."""

    def __init__(self, layers, names):
        super().__init__()
        self.layers, self.names = layers.eval(), names

    def forward(self, *tensors):
        return self.layers(**dict(zip(self.names, tensors, strict=True)), return_dict=True)[0]


def _round_weights(openvino, graph):
    """Put 8-bit weights, a scale and a zero for each row, in place of every matrix of weights."""
    ops = openvino.opset13
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        held = node.input_value(1).get_node()
        if held.get_type_name() != "Constant" or len(held.get_output_shape(0)) != 2:
            continue
        matrix = held.get_data()
        levels, scale, zero = rounded_rows(matrix, 1 if node.get_attributes()["transpose_b"] else 0)
        shifted = ops.subtract(
            ops.convert(ops.constant(levels), "f32"), ops.convert(ops.constant(zero), "f32")
        )
        node.input(1).replace_source_output(ops.multiply(shifted, ops.constant(scale)).output(0))


def rounded_rows(matrix: np.ndarray, axis: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (levels, scale, zero) with ``matrix`` close to ``(levels - zero) * scale``.

    ``levels`` are whole numbers from 0 to 255 in the shape of the matrix; ``scale`` and ``zero``
    are one number for all that lie along ``axis`` (1: for each row). 0 stays exactly 0, and nothing
    is off by more than one scale.

    >>> levels, scale, zero = rounded_rows(np.array([[-1.0, 0.0, 1.55]], dtype=np.float32))
    >>> levels.tolist(), zero.tolist()
    ([[0, 100, 255]], [[100]])
    """
    low = np.minimum(matrix.min(axis, keepdims=True), 0)
    high = np.maximum(matrix.max(axis, keepdims=True), 0)
    scale = np.where(high > low, (high - low) / 255, 1).astype(np.float32)
    zero = np.rint(-low / scale).clip(0, 255)
    levels = np.rint(matrix / scale + zero).clip(0, 255)
    return levels.astype(np.uint8), scale, zero.astype(np.uint8)
