"""What a model's vectors depend on, as one short string.

Two vectors may be compared only if one model made both. A name does not say that: a model is
trained on, its limit is changed, its pooling replaced, and it still carries the name. A fingerprint
is computed from the model itself, at every call, so it follows each of those changes.
"""

import hashlib
import json
import weakref
from typing import Any

from course_utils.models.roles import (
    Role,
    has_routes,
    is_sentence_transformer,
    resolve_prompt,
    role_method,
    underlying,
)

_LAYOUT = 1  # raise it when encode comes to compute different vectors
_ROW = 1024  # words of eight bytes
_GLANCES = 8  # numbers of each tensor that ``glance`` looks at

# What a configuration says of where a model came from and how it is run, not of what it computes.
_PROVENANCE = {
    "_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype",
    "architectures", "gradient_checkpointing", "training", "use_cache", "warnings_issued",
}  # fmt: skip

# A memo, not a state: answers are the same without it, and 60 ms (for 90 MB) later.
_digests: weakref.WeakKeyDictionary[Any, tuple[bytes, str]] = weakref.WeakKeyDictionary()


def fingerprint(
    model: Any,
    *,
    role: Role | None = None,
    normalize_embeddings: bool = True,
    prompt: str | None = None,
    prompt_name: str | None = None,
    on_long: str = "warn",
) -> str:
    """Return what the model's vectors depend on, as 64 hexadecimal digits.

    A SHA-256 over every weight, the tokenizer, each module's settings (pooling among them), the
    length limit, the cut of dimensions, the prompt, and the options of ``encode`` that change
    vectors. The same model loaded twice, from another folder or on another device, has the same
    fingerprint; training, also through ``parameter.data``, changes it. An embedder of another kind
    has to say who it is in a ``fingerprint`` attribute (a string).

    ``role`` is ``"query"`` for the vectors of ``encode_query``, ``"document"`` for those of
    ``encode_document``. Where a model treats both alike, so do their fingerprints.

    For all-MiniLM-L6-v2 (90 MB) it takes about 20 ms on two cores. A full hash would take 80 ms, so
    the hash of the weights is kept together with an exact checksum of their bits, and only the
    checksum is computed at every call.

    Raises ``ValueError`` if the embedder has no ``fingerprint``, has no such prompt, or its weights are out of reach (an
    ONNX or OpenVINO model, weights offloaded to disk); ``TypeError`` for a tokenizer that cannot be
    read.

    >>> from course_utils.encoding.embedders import as_embedder
    >>> remote = as_embedder(lambda texts: [[1.0]] * len(texts), fingerprint="shop-api-2024-05")
    >>> fingerprint(remote) == fingerprint(remote, prompt="query: ")
    False
    """
    model = underlying(model)
    parts = {
        "layout": _LAYOUT,
        "unit": bool(normalize_embeddings),
        "windows": on_long == "chunk",
        "prompt": resolve_prompt(model, role, prompt=prompt, prompt_name=prompt_name),
    }
    if is_sentence_transformer(model):
        if role is not None and has_routes(model):
            parts["route"] = role
        parts["weights"] = _weights(model)
        parts["settings"] = _settings(model)
        parts["tokenizers"] = _tokenizers(model)
        parts["dimensions"] = model.truncate_dim
    else:
        parts["embedder"] = _own_name(model)
        if prompt is None and role_method(model, role) != "encode":
            parts["role"] = role
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def glance(model: Any) -> str | None:
    """Return a quick look at a SentenceTransformer, None for another embedder.

    Its prompts and limits, and some numbers of every tensor: after any training another string, after
    a change of one weight by hand perhaps not. It takes a tenth of the time of ``fingerprint``, and
    is for asking whether a model in memory, once identified, has been touched since.
    """
    model = underlying(model)
    if not is_sentence_transformer(model):
        return None
    import torch

    limits = (model.prompts, model.default_prompt_name, model.truncate_dim, model.max_seq_length)
    seen = []
    for tensor in (*model.parameters(), *model.buffers()):
        flat = tensor.detach().reshape(-1)
        seen.append(flat[:: max(1, len(flat) // _GLANCES)].float())
    numbers = torch.cat(seen).cpu().numpy() if seen else b""
    return hashlib.sha256(repr(limits).encode() + bytes(numbers)).hexdigest()


def _own_name(embedder):
    name = getattr(embedder, "fingerprint", None)
    if isinstance(name, str) and name:
        return name
    raise ValueError(
        f"This {type(embedder).__name__} has no fingerprint (a string that changes whenever its "
        "vectors do, such as a model name with its version), so its vectors cannot be told from "
        "another model's. Give it one, e.g. as_embedder(function, fingerprint='name-version')."
    )


def _weights(model):
    """Return the SHA-256 of every weight, from the memo where no bit has changed."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    backend = model.get_backend()
    if backend != "torch" or any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError(
            f"The weights of this model are out of reach (backend {backend!r}, or offloaded), so it "
            "has no fingerprint. Load it with backend='torch' and without offloading."
        )
    shapes = str([(name, str(t.dtype), tuple(t.shape)) for name, t in tensors.items()]).encode()
    checksum = hashlib.sha256(shapes)
    for tensor in tensors.values():
        checksum.update(_checksum(tensor))
    known, digest = _digests.get(model, (None, None))
    if known != checksum.digest():
        full = hashlib.sha256(shapes)
        for tensor in tensors.values():
            full.update(_bytes(tensor).cpu().numpy())
        digest = full.hexdigest()
        _digests[model] = checksum.digest(), digest
    return digest


def _checksum(tensor):
    """Return sums over the tensor's bits, row by row and column by column.

    Integer sums are exact in any order and run at the speed of memory. A change of up to three
    words always shows in them, as does a change of order; others escape one time in 2^64.
    """
    import torch

    bits = _bytes(tensor)
    if bits.device.type not in {"cpu", "cuda"}:
        bits = bits.cpu()
    if bits.numel() % 8 or bits.storage_offset() % 8:
        bits = torch.cat([bits, bits.new_zeros(-bits.numel() % 8)])
    words = bits.view(torch.int64)
    whole = len(words) // _ROW * _ROW
    table = words[:whole].view(-1, _ROW)
    sums = torch.cat([table.sum(1), table.sum(0), words[whole:]])
    return sums.cpu().numpy().tobytes()


def _bytes(tensor):
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _settings(model):
    """Return, for each module by name, its class and the plain values that it was set to."""
    settings, seen = {}, set()
    for name, module in model.named_modules():
        known = {"class": type(module).__qualname__}
        if module is not model:
            own = vars(module).items()
            known |= {key: _plain(value) for key, value in own if _counts(key, value)}
        if hasattr(module, "get_config_dict"):
            known["config"] = _plain(module.get_config_dict())
        architecture = getattr(module, "config", None)
        if hasattr(architecture, "to_dict") and id(architecture) not in seen:
            seen.add(id(architecture))  # the layers of a transformer share one
            known["architecture"] = _plain(architecture.to_dict())
        if hasattr(module, "max_seq_length"):
            known["limit"] = str(module.max_seq_length)
        settings[name] = known
    return settings


def _counts(key, value):
    if key.startswith("_") or key in _PROVENANCE:
        return False
    return isinstance(value, bool | int | float | str | list | tuple | dict | set)


def _plain(value):
    """Return the value in a form whose JSON does not depend on the process that writes it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if key not in _PROVENANCE}
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # The address in a default repr would differ from run to run.
    return str(value) if type(value).__str__ is not object.__str__ else type(value).__qualname__


def _tokenizers(model):
    """Return a hash of each tokenizer: vocabulary, rules, special tokens, sides."""
    found = [getattr(module, "tokenizer", None) for module in model.modules()]
    once = {id(tokenizer): tokenizer for tokenizer in found if tokenizer is not None}
    return [hashlib.sha256(_rules(tokenizer).encode()).hexdigest() for tokenizer in once.values()]


def _rules(tokenizer):
    kind = type(tokenizer).__qualname__
    sides = [getattr(tokenizer, side, None) for side in ("padding_side", "truncation_side")]
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        # What comes before the added tokens is how the last call cut and padded.
        text = backend.to_str()
        rules = text[text.index('"added_tokens"') :]
    elif hasattr(tokenizer, "get_config_dict"):
        rules = json.dumps(tokenizer.get_config_dict(), sort_keys=True, default=str)
    elif hasattr(tokenizer, "get_vocab"):
        own = _plain(getattr(tokenizer, "init_kwargs", {}))
        rules = json.dumps([tokenizer.get_vocab(), own], sort_keys=True, default=str)
    else:
        raise TypeError(
            f"A tokenizer of class {kind} cannot be read, so the model has no fingerprint. Use one "
            "from the transformers or tokenizers libraries."
        )
    return f"{kind} {sides} {rules}"


def fingerprint_or_none(
    model: Any, *, role: Role | None = None, prompt: str | None = None
) -> str | None:
    """Return the fingerprint of ``model``; None for one that cannot say what shapes its vectors."""
    try:
        return fingerprint(model, role=role, prompt=prompt)
    except (AttributeError, TypeError, ValueError):
        return None
