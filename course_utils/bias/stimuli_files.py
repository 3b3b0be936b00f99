"""A YAML file from outside as plain data: read within limits, and every mistake named.

Nothing in a file is ever run. Only ``yaml.safe_load`` turns it into lists, mappings and texts,
and only after its events were looked through for what no word list needs: tags, anchors and
deep nesting. Markup in a text (``<script>``) is a text like any other; whoever shows it escapes it.
"""

import unicodedata
from pathlib import Path
from typing import Any

MOST_BYTES = 100_000
MOST_CHARACTERS = 500
_DEEPEST = 8
_SETS = ("X", "Y", "A", "B")
_KEYS = ("name", *_SETS, "source")
# Control characters, format marks (direction, no width, tags), halves of surrogates, separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Words of several languages, and emoji, are spelt with the two joiners.
_JOINERS = "\u200c\u200d"
_UNNAMED = {"\n": "a line end", "\t": "a tab"}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, made of plain lists, mappings, texts and numbers.

    At most 100,000 bytes of UTF-8. Raises ``FileNotFoundError`` when there is no such file;
    ``ValueError``, with the line where there is one, when it is too large, not UTF-8, not YAML,
    uses tags (``!!python/object``), anchors or aliases, is nested deeply, gives a key twice in one
    mapping, or holds something other than a mapping.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "words.yaml"
    ...     _ = file.write_text("X: [rose, lily]")
    ...     read_yaml(file)
    {'X': ['rose', 'lily']}
    """
    import yaml

    path = Path(path)
    text = _text(path)
    try:
        _check_events(path, yaml.parse(text, Loader=yaml.SafeLoader), yaml)
        _check_keys(path, yaml.compose(text, Loader=yaml.SafeLoader), yaml)
        content = yaml.safe_load(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ValueError(
            f"{path}:{line}: this line holds the character {_number(error.character)}, which YAML "
            "does not allow. Delete it or type the word again."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise ValueError(
            f"{where}: this is not YAML ({error.problem}). Check indentation, "
            "brackets and quotation marks; a text with : or # belongs in quotes."
        ) from None
    except (ValueError, OverflowError) as error:
        # YAML builds numbers and dates, and Python refuses some: 2024-13-45, ten thousand digits.
        if str(error).startswith(f"{path}:"):
            raise
        raise ValueError(
            f"{path}: a number or date in it cannot be one ({str(error)[:80]}). Put it in quotes."
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: holds {_kind(content)}. Expected the lines name:, X:, Y:, A: and B:, each "
            "with what belongs to it."
        )
    return content


def read_association_file(path: str | Path) -> dict[str, Any]:
    """Return {"name", "X", "Y", "A", "B", "source"} of a learner's YAML file, all checked.

    The sets are lists of str; ``name`` is the file's own name where it gives none, ``source`` ""
    likewise. Raises what ``read_yaml`` raises; ``ValueError``, naming the file, the set and the
    item, for a key that is unknown or missing, a set that is not a list of texts, a blank or
    overlong text, a hidden mark or control character, a text twice in a set or in two sets
    (capitals and spacing aside), fewer than two texts in a set, or X and Y of different sizes.
    """
    content = read_yaml(path)
    _check_names(path, content)
    name = content.get("name", Path(path).stem)
    source = content.get("source", "")
    check_text(path, "name", name)
    if source != "":
        check_text(path, "source", source)
    sets = {side: _set(path, side, content[side]) for side in _SETS}
    _check_overlap(path, sets)
    if len(sets["X"]) != len(sets["Y"]):
        raise ValueError(
            f"{path}: X holds {len(sets['X'])} texts and Y {len(sets['Y'])}. The permutation test "
            "swaps them one for one, so give both the same number."
        )
    return {"name": name, **sets, "source": source}


def check_text(path: str | Path, where: str, text: Any) -> None:
    """Raise ``ValueError``, naming file and item, unless ``text`` is a text that a list can hold.

    It must be a str with something to read in it, of at most 500 characters, without control
    characters, direction marks and marks of no width.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"{path}: {where} is {_kind(text)}, not a text. Put it in quotation marks: YAML reads "
            "a bare no, null, 12 or 2024-01-31 as something other than a word."
        )
    if not text.strip():
        raise ValueError(f"{path}: {where} is empty. Give it a text or leave it out.")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"{path}: {where} has {len(text):,} characters ({text[:30]!r}...). A word or sentence "
            f"may have {MOST_CHARACTERS}; split it or leave it out."
        )
    for character in text:
        if unicodedata.category(character) in _HIDDEN and character not in _JOINERS:
            name = unicodedata.name(character, _UNNAMED.get(character, "a control character"))
            raise ValueError(
                f"{path}: {where} holds {_number(character)} ({name.lower()}), which cannot be seen but "
                "changes what is measured or shown. Type the text again."
            )


def same(text: str) -> str:
    """Return what two texts share that most models cannot tell apart: capitals, spaces aside.

    >>> same(" New  York") == same("new york")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _text(path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file. Give the path of a YAML file.")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"{path}: is larger than {MOST_BYTES:,} bytes, the most that is read. Word lists are "
            "small: give fewer or shorter texts."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is not UTF-8. Save the file again with that encoding."
        ) from None


def _check_events(path, events, yaml):
    """Refuse tags, anchors and deep nesting before anything is built from them."""
    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        if getattr(event, "tag", None) is not None:
            raise ValueError(
                f"{path}:{line}: the tag {str(event.tag)[:60]!r}. Word lists need no tags, and "
                "none is obeyed: delete what starts with an exclamation mark or put it in quotes."
            )
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError(
                f"{path}:{line}: {event.anchor[:60]!r} is an anchor (&) or its repetition (*). "
                "Write the words out, or put a text that starts with & or * in quotes."
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(
                f"{path}:{line}: lists in lists, more than {_DEEPEST} deep. A set is one list of "
                "texts."
            )


def _check_keys(path, node, yaml):
    """Refuse a key that one mapping gives twice: YAML would silently keep the last."""
    if not isinstance(node, yaml.CollectionNode):
        return
    seen = set()
    for part in node.value:
        key, value = part if isinstance(part, tuple) else (None, part)
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise ValueError(
                    f"{path}:{key.start_mark.line + 1}: {key.value[:60]!r} is given a second "
                    "time. Keep one."
                )
            seen.add(key.value)
        _check_keys(path, value, yaml)


def _check_names(path, content):
    for key in content:
        if key not in _KEYS:
            raise ValueError(
                f"{path}: {str(key)[:60]!r} is no part of an association test. The parts are "
                f"{', '.join(_KEYS)}, with these capitals."
            )
    missing = [side for side in _SETS if side not in content]
    if missing:
        raise ValueError(
            f"{path}: {missing[0]} is missing. A test needs the targets X and Y and the attributes "
            "A and B, each a list of texts."
        )


def _set(path, side, texts) -> list[str]:
    if not isinstance(texts, list):
        raise ValueError(
            f"{path}: {side} is {_kind(texts)}, not a list. Write {side}: [one, two] or a line "
            "with a dash for each text."
        )
    seen: dict[str, int] = {}
    for position, text in enumerate(texts):
        check_text(path, f"{side}[{position}]", text)
        if same(text) in seen:
            raise ValueError(
                f"{path}: {side}[{position}], {text!r}, is in {side} already, as "
                f"{side}[{seen[same(text)]}]. Keep one."
            )
        seen[same(text)] = position
    if len(texts) < 2:
        raise ValueError(
            f"{path}: {side} holds {len(texts)} text{'s' * (len(texts) != 1)}. With fewer than two "
            "an effect size says nothing; eight or more on each side are usual."
        )
    return texts


def _check_overlap(path, sets):
    home = {}
    for side, texts in sets.items():
        for text in texts:
            if same(text) in home:
                raise ValueError(
                    f"{path}: {text!r} is in both {home[same(text)]} and {side}. Keep it in one "
                    "set: a text is as near to itself as can be."
                )
            home[same(text)] = side


def _number(character) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _kind(value) -> str:
    names = {
        bool: "yes or no",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
        str: "a single text",
        type(None): "empty",
    }
    kind = names.get(type(value), f"a {type(value).__name__}")
    return f"{kind} ({value!r})" if isinstance(value, bool | float) else kind
