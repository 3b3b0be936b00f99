"""The fastest setting of this machine that keeps a model's vectors.

A model's weights are float32: 24 bits of precision for numbers that are good to some eight. Today's
processors multiply bfloat16 (8 bits) or whole numbers (int8) at a multiple of the speed. Which of
them is there, whether a compiler helps, and how far the vectors move differs from machine to machine
and from model to model; so it is measured, on a few texts, before anything is chosen.
"""

import copy
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from course_utils.files import write_text
from course_utils.models.fingerprints import fingerprint
from course_utils.models.processor import has_bfloat16
from course_utils.models.roles import is_sentence_transformer, underlying

#: A setting is close where the mean cosine of its vectors to those of float32 is at least this.
CLOSE = 0.995
#: and faster where it takes at most 1/1.05 of the time: less is within what a clock is off by.
FASTER = 1.05

_ROUNDS = 3
_BATCH = 8
_SENTENCES = (
    "A hash table finds an entry in constant time, whatever its size.",
    "Nose bleeding that does not stop within twenty minutes should be seen by a doctor.",
    "The tenant gives notice in writing, at the latest on the third working day of the month.",
    "Fold the egg whites in last, a third at a time, or the air is lost.",
    "Der Zug nach Hamburg fährt heute von Gleis 9 ab.",
    "Raises ValueError if the two arrays differ in length; see numpy.broadcast_to(x, shape).",
    "Why does my laptop get hot when nothing is running?",
    "In the spring of 1846 the harvest failed for a second time, and prices doubled by autumn.",
    "Revenue rose by 4.7 % to 12.3 million, chiefly through orders from Poland and Spain.",
    "The enzyme loses its activity above 60 °C because its folded form comes apart.",
    "def area(radius): return math.pi * radius ** 2",
    "She had read the letter twice before she understood that it was not meant for her.",
)
#: What settings are compared on: single sentences, and documents made of all of them.
SAMPLE = (*_SENTENCES, *(" ".join(_SENTENCES[i:] + _SENTENCES[:i]) for i in range(0, 12, 3)))


def fast_model(model: Any, *, texts: Sequence[str] = SAMPLE) -> Any:
    """Return a model with nearly the same vectors, in the fastest setting of this machine.

    ``load_model(name, precision="fast")`` is this function on ``load_model(name)``. ``model`` is a
    SentenceTransformer in float32 (or a result of training) and stays as it is. What is returned is
    a SentenceTransformer as well, with two attributes: ``precision``, the setting's name, and
    ``choices``, a DataFrame with a row for each setting: how many ``times faster`` than float32 it
    encoded, the ``mean cosine`` of its vectors to those of float32, whether it was ``chosen`` and
    ``why``. Where nothing is faster and close, ``model`` itself is returned with these attributes.

    Tried are, on a processor with bfloat16, the layers in bfloat16 by torch and by OpenVINO; on one
    without, OpenVINO in float32 and in int8; on a GPU float16 and bfloat16. All but the layers stays
    in float32, and so do the vectors. OpenVINO comes with the extra ``fast``; the layers are
    exported once to the cache folder. What was measured is kept there too, so that the next call on
    this machine chooses alike and in no time; delete the folder ``fast`` in it to measure again.

    ``texts``: the sample to measure on, some of them short and some long. Its size decides how long
    choosing takes (about eight times what encoding it does).

    The result cannot be trained or saved, and says so; its fingerprint is its own, so that a cache or an
    index never mixes its vectors with those of another precision.

    Raises ``ValueError`` for no texts, and for a model in another precision than float32.
    """
    model = underlying(model)
    if not is_sentence_transformer(model):
        return model
    if isinstance(texts, str) or not len(texts):
        raise ValueError("texts is empty or a single string; give a list of some sixteen texts.")
    obstacle = _obstacle(model)
    if obstacle:
        row = {"setting": "float32", "times faster": 1.0, "mean cosine": 1.0, "obstacle": None}
        return _told(model, [row, {"setting": "others", "obstacle": obstacle}], "float32")
    _refuse_other_than_float32(model)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        bench = _Bench(model, texts)
        rows = bench.stored()
        if rows is not None:
            chosen = choose_setting(rows)
            fast = bench.made(chosen) if chosen != "float32" else model
            if isinstance(fast, str) or not bench.still_close(fast):
                rows = None  # the machine is another than it was
        if rows is None:
            rows, made = bench.measure()
            bench.store(rows)
            chosen = choose_setting(rows)
            fast = made.get(chosen, model)
        return _told(fast, rows, chosen)
    finally:
        for module in training:
            module.training = True


def settings_for(device: str, *, bfloat16: bool, openvino: bool) -> dict[str, str | None]:
    """Return which settings a machine has: None for one to try, else what keeps it from being tried.

    ``device`` is the type of a device (``"cpu"``, ``"cuda"``, ``"mps"``), ``bfloat16`` whether it
    multiplies such numbers itself, ``openvino`` whether that package is there.

    >>> settings_for("cuda", bfloat16=False, openvino=True)
    {'float32': None, 'float16': None, 'bfloat16': 'this device has no bfloat16'}
    """
    lacking = None if bfloat16 else "this device has no bfloat16"
    if device != "cpu":
        return {"float32": None, "float16": None, "bfloat16": lacking}
    compiled = None if openvino else "OpenVINO (the extra fast) is not installed"
    if bfloat16:
        return {"float32": None, "bfloat16": None, "OpenVINO bfloat16": compiled}
    return {
        "float32": None,
        "bfloat16": lacking,
        "OpenVINO float32": compiled,
        "OpenVINO int8": compiled,
    }


def choose_setting(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the name of the fastest setting that is close and faster, ``"float32"`` if none is.

    A row has a ``setting`` and, where it was measured, ``times faster`` and ``mean cosine``; see
    ``CLOSE`` and ``FASTER``. The first of several equally fast ones is taken.

    >>> choose_setting([{"setting": "int8", "times faster": 3.1, "mean cosine": 0.993},
    ...                 {"setting": "bfloat16", "times faster": 2.4, "mean cosine": 0.9999}])
    'bfloat16'
    """
    # A comparison with NaN is False, so that vectors which are none are never close.
    fit = [row for row in rows if _is_close(row) and _is_faster(row)]
    best = max(fit, key=lambda row: row["times faster"], default={"setting": "float32"})
    return str(best["setting"])


def _is_close(row):
    return (row.get("mean cosine") or 0) >= CLOSE


def _is_faster(row):
    return (row.get("times faster") or 0) >= FASTER


def _why(row, chosen):
    if row.get("obstacle"):
        return row["obstacle"]
    if row["setting"] == chosen:
        fastest = "the fastest whose vectors are close"
        return fastest if chosen != "float32" else "nothing else is faster and close"
    if row["setting"] == "float32":
        return "what the others are compared with"
    if not _is_close(row):
        return f"its vectors are too far off: {CLOSE} is asked for"
    return f"slower than {chosen}" if _is_faster(row) else "not faster than float32"


def _told(model, rows, chosen):
    """Give the model its two attributes and return it."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "setting": [row["setting"] for row in rows],
            "times faster": [row.get("times faster", np.nan) for row in rows],
            "mean cosine": [row.get("mean cosine", np.nan) for row in rows],
            "chosen": [row["setting"] == chosen for row in rows],
            "why": [_why(row, chosen) for row in rows],
        }
    )
    model.choices = table.set_index("setting").astype({"times faster": float, "mean cosine": float})
    model.precision = chosen
    return model


def _obstacle(model):
    """Return why the layers of a model cannot be computed otherwise, or None."""
    from sentence_transformers.base.modules.transformer import Transformer

    first = model[0]
    if type(first) is not Transformer:
        return f"only the layers of a transformer are replaced; this one begins with a {type(first).__name__}"
    plain = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    if first.modality_config != plain or model.get_backend() != "torch":
        return "only models of plain text on torch are replaced"
    return None


def _refuse_other_than_float32(model):
    import torch

    found = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
    if found or getattr(model, "precision", "float32") != "float32":
        name = getattr(model, "precision", None) or str(*found).removeprefix("torch.")
        raise ValueError(
            f"This model computes in {name}, so there is no float32 to compare with. Pass what "
            "load_model(name) gives, without precision."
        )


class _Bench:
    """One model, the settings that this machine has for it, and the texts to compare them on."""

    def __init__(self, model, texts):
        from course_utils.models.encoders import openvino_version

        self.model = model
        self.device = model.device
        self.version = openvino_version()
        self.settings = settings_for(
            self.device.type,
            bfloat16=has_bfloat16(self.device),
            openvino=self.version is not None,
        )
        self.weights = fingerprint(model)
        by_length = sorted(texts, key=len)
        starts = range(0, len(by_length), _BATCH)
        self.batches = [self._features(by_length[at : at + _BATCH]) for at in starts]
        self.texts = texts

    def _features(self, texts):
        import torch

        features = self.model.preprocess(texts)
        return {k: v.to(self.device) if torch.is_tensor(v) else v for k, v in features.items()}

    # What was measured before

    @property
    def _file(self):
        """Return where the rows are kept: under a name made of all that they depend on."""
        import torch

        from course_utils.models.loading import cache_dir

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        told = [self.weights, str(self.device), name, torch.get_num_threads(), torch.__version__]
        told += [self.version, [key for key, why in self.settings.items() if why is None]]
        key = hashlib.sha256(json.dumps([told, list(self.texts)]).encode("utf-8", "replace"))
        return cache_dir() / "fast" / f"{key.hexdigest()[:24]}.json"

    def stored(self) -> list[dict[str, Any]] | None:
        """Return the rows as they were measured on this machine before, or None."""
        try:
            rows = json.loads(self._file.read_text("utf-8"))
            names = [row["setting"] for row in rows]
            choose_setting(rows)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return rows if names == list(self.settings) else None

    def store(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows, but for those with a failure, which may have been the moment's."""
        if all(row["obstacle"] == self.settings[row["setting"]] for row in rows):
            write_text(self._file, json.dumps(rows, indent=1))

    # Measuring

    def measure(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return one row per setting, and the models by setting that could be made."""
        rows = {name: {"setting": name, "obstacle": why} for name, why in self.settings.items()}
        models = {}
        for name, row in rows.items():
            if row["obstacle"] is None:
                made = self.made(name)
                if isinstance(made, str):
                    row["obstacle"] = made
                else:
                    models[name] = made
        vectors = {name: self._vectors(model) for name, model in models.items()}  # and warms up
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(_ROUNDS):
            for name, model in models.items():  # in turns, so that a disturbance meets all
                began = time.perf_counter()
                self._vectors(model)
                times[name].append(time.perf_counter() - began)
        for name in models:
            ratios = [a / b for a, b in zip(times["float32"], times[name], strict=True)]
            cosine = _mean_cosine(vectors[name], vectors["float32"])
            rows[name] |= {"times faster": median(ratios), "mean cosine": cosine}
        return list(rows.values()), models

    def made(self, setting: str) -> Any:
        """Return the model in a setting, or a sentence that says why it could not be made."""
        if setting == "float32":
            return self.model
        try:
            layers = self._layers(setting)
            made = copy.deepcopy(self.model, {id(self.model[0].model): layers}).eval()
            self._vectors(made, self.batches[:1])
        except Exception as error:  # whatever it is, float32 is still there
            return (
                f"failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
            )
        return made

    def _layers(self, setting):
        import torch

        from course_utils.models.encoders import HalfEncoder, compiled_encoder

        if setting.startswith("OpenVINO"):
            from course_utils.models.loading import cache_dir

            folder = cache_dir() / "fast" / f"{self.weights[:24]}-openvino-{self.version}"
            kind: Any = setting.removeprefix("OpenVINO ")
            traced = self._features([SAMPLE[0], SAMPLE[-1]])  # with padding
            return compiled_encoder(self.model[0], traced, self.weights, folder, kind)
        return HalfEncoder(self.model[0].model, getattr(torch, setting))

    def still_close(self, model: Any) -> bool:
        """Return whether the vectors of a few texts are still close to those of float32."""
        if model is self.model:
            return True
        few = self.batches[:1]
        cosine = _mean_cosine(self._vectors(model, few), self._vectors(self.model, few))
        return cosine >= CLOSE

    def _vectors(self, model, batches=None):
        import torch

        with torch.inference_mode():
            found = [
                model(dict(features))["sentence_embedding"].float().cpu().numpy()
                for features in (self.batches if batches is None else batches)
            ]
        return np.concatenate(found)


def _mean_cosine(a, b):
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(1) / lengths))
