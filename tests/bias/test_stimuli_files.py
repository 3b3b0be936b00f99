"""A learner's own lists: each mistake is named, and a hostile file stays data or is refused."""

import itertools
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import course_utils.bias as bias
from course_utils.bias import stimuli
from course_utils.bias.stimuli_files import MOST_BYTES, MOST_CHARACTERS, read_yaml, same


def own(tmp_path, content, name="mine.yaml"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


GOOD = "X: [rose, lily]\nY: [wasp, moth]\nA: [kind, warm]\nB: [cruel, cold]\n"


def refused(tmp_path, content):
    """What the error says about a file of this content."""
    path = own(tmp_path, content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        bias.load_stimuli(path)
    message = str(caught.value).removeprefix(str(path))
    assert len(message) < 400
    return message


def test_an_own_file_becomes_a_test_with_its_name_and_source(tmp_path):
    test = bias.load_stimuli(own(tmp_path, GOOD + "name: meadow\nsource: my garden\n"))
    assert (test.name, test.X, test.B) == ("meadow", ["rose", "lily"], ["cruel", "cold"])
    assert test.source.citation == "my garden"
    assert bias.load_stimuli(str(own(tmp_path, GOOD, "field.yml"))).name == "field"
    assert bias.load_stimuli(own(tmp_path, b"\xef\xbb\xbf" + GOOD.encode())).Y == ["wasp", "moth"]


WORD = st.text(
    st.characters(exclude_categories=("C", "Z", "M")) | st.sampled_from(" -'"),
    min_size=1,
    max_size=12,
).filter(str.strip)


@given(st.lists(WORD, min_size=8, max_size=8, unique_by=same))
@settings(max_examples=60, deadline=None)
def test_any_different_words_survive_being_written_and_read(tmp_path_factory, words):
    sets = {side: words[2 * i : 2 * i + 2] for i, side in enumerate("XYAB")}
    path = own(tmp_path_factory.mktemp("own"), yaml.safe_dump(sets, allow_unicode=True))
    test = bias.load_stimuli(path)
    assert {side: getattr(test, side) for side in "XYAB"} == sets


@pytest.mark.parametrize("one", "XYAB")
@pytest.mark.parametrize("other", "XYAB")
def test_a_word_twice_is_refused_wherever_it_is(tmp_path, one, other):
    sets = yaml.safe_load(GOOD)
    for side in "XY":
        sets[side].append(f"third {side}")
    word = sets[one][0].upper()
    sets[other][-1] = word
    message = refused(tmp_path, yaml.safe_dump(sets))
    assert word in message or sets[one][0] in message
    if one == other:
        assert f"{one} already, as {one}[0]" in message
    else:
        assert f"in both {min(one, other, key='XYAB'.index)} and " in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD.replace("moth", "moth, gnat"), "X holds 2 texts and Y 3"),
        (GOOD.replace("rose, ", ""), "X holds 1 text."),
        (GOOD.replace("kind, warm", ""), "A holds 0 texts"),
        (GOOD.replace("[rose, lily]", "rose"), "X is a single text, not a list"),
        (GOOD.replace("[rose, lily]", "{rose: lily}"), "X is a mapping, not a list"),
        (GOOD.replace("[rose, lily]", ""), "X is empty, not a list"),
        (GOOD.replace("lily", "[lily]"), "X[1] is a list, not a text"),
        (GOOD.replace("lily", "no"), "X[1] is yes or no (False), not a text"),
        (GOOD.replace("lily", "~"), "X[1] is empty, not a text"),
        (GOOD.replace("lily", "12"), "X[1] is a number, not a text"),
        (GOOD.replace("lily", "2024-01-31"), "X[1] is a date, not a text"),
        (GOOD.replace("lily", '"  "'), "X[1] is empty. Give"),
        (GOOD.replace("B:", "b:"), "'b' is no part"),
        (GOOD.replace("B: [cruel, cold]\n", ""), "B is missing"),
        (GOOD + "name: 3\n", "name is a number"),
        (GOOD + "source: [a]\n", "source is a list"),
        (GOOD + "X: [iris, tulip]\n", ":5: 'X' is given a second time"),
        (GOOD + "---\nX: [iris]\n", "not YAML"),
        ("- rose\n- lily\n", "holds a list"),
        ("", "holds empty"),
        (GOOD + "Z: [open\n", "not YAML"),
        (GOOD.replace("lily", "li: ly: x"), "not YAML"),
        (GOOD.replace("lily", "2024-13-45"), "cannot be one"),
        (GOOD.replace("lily", "9" * 9000), "Put it in quotes"),
        (GOOD.encode("utf-16"), "not UTF-8"),
        (GOOD.replace("lily", "lil\xff").encode("latin-1"), "byte 13 is not UTF-8"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(tmp_path, content, says):
    assert says in refused(tmp_path, content)


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        bias.load_stimuli(tmp_path / "none.yaml")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        bias.load_stimuli(tmp_path)


# --- hostile content


def test_markup_is_kept_as_plain_text(tmp_path):
    script = "<script>alert('x')</script>"
    test = bias.load_stimuli(own(tmp_path, GOOD.replace("lily", f'"{script}"')))
    assert test.X[1] == script


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("\\u202e", "U+202E (right-to-left override)"),
        ("\\u200f", "U+200F (right-to-left mark)"),
        ("\\u2066", "U+2066 (left-to-right isolate)"),
        ("\\u200b", "U+200B (zero width space)"),
        ("\\U000e0041", "U+E0041 (tag latin capital letter a)"),
        ("\\0", "U+0000 (a control character)"),
        ("\\e[31m", "U+001B (a control character)"),
        ("\\n", "U+000A (a line end)"),
    ],
)
def test_hidden_marks_are_named(tmp_path, mark, name):
    message = refused(tmp_path, GOOD.replace("lily", f'"li{mark}ly"'))
    assert f"X[1] holds {name}" in message
    assert message.isprintable()
    assert "name holds" in refused(tmp_path, GOOD + f'name: "my{mark}test"\n')


def test_a_raw_control_character_is_named_with_its_line(tmp_path):
    assert ":2: this line holds the character U+001B" in refused(
        tmp_path, GOOD.replace("moth", "mo\x1bth")
    )
    assert "U+202E" in refused(tmp_path, GOOD.replace("lily", "li\u202ely"))


def test_languages_written_from_right_to_left_or_with_joiners_are_welcome(tmp_path):
    test = bias.load_stimuli(own(tmp_path, GOOD.replace("rose, lily", "وردة, می\u200cخواهم")))
    assert test.X == ["وردة", "می\u200cخواهم"]


def test_a_million_characters_are_refused_without_being_repeated(tmp_path):
    assert f"larger than {MOST_BYTES:,} bytes" in refused(
        tmp_path, GOOD.replace("lily", "l" * 1_000_000)
    )
    long = "l" * (MOST_CHARACTERS + 1)
    assert f"X[1] has {len(long):,} characters" in refused(tmp_path, GOOD.replace("lily", long))
    assert "source has" in refused(tmp_path, GOOD + f"source: {long}\n")


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['touch {}']",
        "!!python/object/apply:subprocess.check_output [['touch', '{}']]",
        "!!python/object/new:os.system ['touch {}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary aGVsbG8=",
        "!own lily",
    ],
)
def test_tags_are_refused_and_nothing_runs(tmp_path, tagged):
    trace = tmp_path / "trace"
    message = refused(tmp_path, GOOD.replace("lily", tagged.replace("{}", str(trace))))
    assert message.startswith(":1: the tag ")
    assert not trace.exists()


def test_repetition_that_would_grow_without_end_is_refused(tmp_path):
    bomb = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for before, letter in itertools.pairwise("abcdefgh"):
        bomb.append(f"{letter}: &{letter} [" + ", ".join([f"*{before}"] * 9) + "]")
    message = refused(tmp_path, "\n".join(bomb))
    assert ":1: 'a' is an anchor" in message
    assert "anchor" in refused(tmp_path, GOOD + "name: *x\n")
    assert "anchor" in refused(tmp_path, "X: &x [*x]\n")


@pytest.mark.parametrize("deep", ["[" * 40_000, "{a: " * 9_000, "X: " + "[" * 20 + "]" * 20])
def test_deep_nesting_is_refused_at_once(tmp_path, deep):
    assert "deep" in refused(tmp_path, deep)


def test_the_courses_own_files_are_within_the_limits_for_any_file():
    folder = stimuli.course_folder("bias", "weat.yaml")
    files = sorted(folder.glob("*.yaml"))
    assert [file.stem for file in files] == [
        "adverts", "census_names", "counterfactuals", "cvs", "groups", "templates", "thresholds",
        "weat",
    ]  # fmt: skip
    for file in files:
        assert read_yaml(file)
        assert file.read_text("utf-8").isascii()
