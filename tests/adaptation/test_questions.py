"""Questions written for texts, kept on disk, and the ones that are worth training on."""

import numpy as np
import pytest

from course_utils.adaptation import drop_questions, generate_questions, keep_grounded
from course_utils.adaptation import questions as module
from course_utils.adaptation.questions import prompt_of
from course_utils.data import RetrievalTask

EXAMPLES = [("Fever. A high temperature.", "feels hot"), ("Nausea. An urge to vomit.", "sick")]


class Scribe:
    """A writer that counts what it is asked, and stops after ``patience`` calls."""

    name = "scribe"

    def __init__(self, patience=None):
        self.prompts, self.patience = [], patience

    def __call__(self, prompts):
        if self.patience is not None and len(self.prompts) >= self.patience:
            raise KeyboardInterrupt
        self.prompts.append(prompts)
        return [
            f" about {prompt.split('Text: ')[-1].split('.')[0]}\nText: more" for prompt in prompts
        ]


def asked(scribe):
    return [prompt for prompts in scribe.prompts for prompt in prompts]


def test_the_prompt_holds_instruction_examples_and_then_the_text():
    scribe = Scribe()
    found = generate_questions(
        {"a": "Tinnitus.\nA sound."}, EXAMPLES, writer=scribe, n=1, instruction="Ask."
    )
    assert found == {"a": ["about Tinnitus"]}
    assert asked(scribe) == [
        "Ask.\n\n"
        "Text: Fever. A high temperature.\nAsked: feels hot\n\n"
        "Text: Nausea. An urge to vomit.\nAsked: sick\n\n"
        "Text: Tinnitus. A sound.\nAsked:"
    ]


def test_every_text_is_asked_n_times_and_equal_questions_count_once():
    answers = iter(["one", "ONE", "", "two"])
    found = generate_questions(
        ["x. y."], EXAMPLES, writer=lambda prompts: [next(answers) for _ in prompts], n=4
    )
    assert found == {"0": ["one", "two"]}


def test_a_stopped_run_goes_on_without_asking_twice(tmp_path):
    texts = {f"id {number}": f"Text {number}. Words." for number in range(300)}
    path = tmp_path / "questions.jsonl"
    whole = generate_questions(texts, EXAMPLES, writer=Scribe(), n=2)
    first, second, third = Scribe(patience=2), Scribe(), Scribe()
    with pytest.raises(KeyboardInterrupt):
        generate_questions(texts, EXAMPLES, writer=first, n=2, path=path)
    assert generate_questions(texts, EXAMPLES, writer=second, n=2, path=path) == whole
    assert len(asked(first)) == 2 * 2 * 64
    assert sorted(asked(first) + asked(second)) == sorted(
        2 * [prompt_of(module.INSTRUCTION, EXAMPLES, text) for text in texts.values()]
    )
    assert generate_questions(texts, EXAMPLES, writer=third, n=2, path=path) == whole
    assert third.prompts == []


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_line_cut_off_by_a_crash_is_written_again(tmp_path, cut):
    texts = [f"Text {number}. Words." for number in range(100)]
    path = tmp_path / "questions.jsonl"
    whole = generate_questions(texts, EXAMPLES, writer=Scribe(), path=path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    again = Scribe()
    assert generate_questions(texts, EXAMPLES, writer=again, path=path) == whole
    assert len(again.prompts) == 1
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changed",
    [
        {"texts": ["Other. Words."]},
        {"examples": EXAMPLES[:1]},
        {"n": 3},
        {"seed": 1},
        {"temperature": 0.1},
        {"instruction": "Ask."},
    ],
)
def test_a_file_of_other_arguments_is_refused(tmp_path, changed):
    given = {"texts": ["Text. Words."], "examples": EXAMPLES}
    path = tmp_path / "questions.jsonl"
    generate_questions(**given, writer=Scribe(), path=path)
    with pytest.raises(ValueError, match="other texts, examples or options"):
        generate_questions(**given | changed, writer=Scribe(), path=path)


def test_the_packaged_writer_given_or_by_default_goes_on_with_the_same_file(tmp_path):
    from course_utils.models.writer import SmolLM2

    path, scribe = tmp_path / "questions.jsonl", Scribe()
    scribe.name = SmolLM2.name
    written = generate_questions(["Text. Words."], EXAMPLES, writer=scribe, path=path)
    assert generate_questions(["Text. Words."], EXAMPLES, path=path) == written


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n", "utf-8")
    with pytest.raises(ValueError, match="holds no questions"):
        generate_questions(["a. b."], EXAMPLES, writer=Scribe(), path=path)
    assert path.read_text("utf-8") == "dear diary\n"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"texts": []}, "no texts"),
        ({"texts": "one"}, "one string"),
        ({"texts": {"a": " "}}, "The text 'a' is ' '"),
        ({"examples": []}, "no examples"),
        ({"examples": ["ab"]}, r"examples\[0\] is 'ab'"),
        ({"examples": [("a", " ")]}, r"examples\[0\]"),
        ({"n": 0}, "n is 0"),
        ({"temperature": -1}, "temperature -1"),
        ({"writer": lambda prompts: ["one"]}, "1 lines for 4 prompts"),
    ],
)
def test_what_cannot_be_written_for_is_refused(changed, message):
    given = {"texts": ["Text. Words."], "examples": EXAMPLES, "writer": Scribe()}
    with pytest.raises(ValueError, match=message):
        generate_questions(**given | changed)


def letters(texts):
    """An embedder that counts letters: what it thinks near can be read off the words."""
    return (
        np.array([[text.lower().count(letter) for letter in "abcdefgh"] for text in texts]) + 0.01
    )


TEXTS = {"a": "aaaa", "b": "bbbb", "c": "cccc", "ab": "aabb"}


def test_a_question_stays_where_its_own_text_is_found():
    questions = {"a": ["aaa", "ccc"], "b": ["bb"]}
    assert keep_grounded(letters, questions, TEXTS, places=(1, 1)) == [
        ("aaa", "aaaa"),
        ("bb", "bbbb"),
    ]
    everything = keep_grounded(letters, questions, TEXTS, places=(1, 4))
    assert everything == [("aaa", "aaaa"), ("ccc", "aaaa"), ("bb", "bbbb")]


def test_the_rank_that_keeps_is_that_of_a_full_ranking(minilm):
    from course_utils import search

    texts = {"1": "A cat sleeps.", "2": "A dog barks.", "3": "Rain falls.", "4": "The sun shines."}
    questions = {"1": ["animal that purrs", "weather"], "3": ["wet weather", "loud animal"]}
    for first in range(1, 5):
        for last in range(first, 5):
            expected = [
                (asked, texts[name])
                for name, several in questions.items()
                for asked in several
                if name in [hit.id for hit in search(minilm, asked, texts, k=last)][first - 1 :]
            ]
            assert keep_grounded(minilm, questions, texts, places=(first, last)) == expected


def test_a_question_of_several_texts_stays_with_the_nearest():
    questions = {"ab": ["Aaab"], "a": ["aaab"], "b": ["AAAB", "bb"]}
    assert keep_grounded(letters, questions, TEXTS, places=(1, 4)) == [
        ("aaab", "aaaa"),
        ("bb", "bbbb"),
    ]


def test_a_question_that_repeats_an_example_goes():
    questions = {"a": ["ah-ab", "ah cab"], "b": ["ab"]}
    kept = keep_grounded(letters, questions, TEXTS, places=(1, 4), examples=[("x", "ah b AB!")])
    assert kept == [("ah cab", "aaaa")]


def test_a_question_without_a_word_of_its_own_goes():
    texts = {"1": "Loose teeth. Teeth that are loose.", "2": "Rain. It falls."}
    questions = {"1": ["the teeth are loose", "Loosely", "wobbly tooth"], "2": ["wobbly tooths"]}
    kept = keep_grounded(lambda asked: np.ones((len(asked), 2)), questions, texts, places=(1, 2))
    assert [asked for asked, _ in kept] == ["wobbly tooth", "wobbly tooths"]


def test_by_default_what_the_model_finds_first_is_left_out():
    assert keep_grounded(letters, {"a": ["aaa"], "b": ["abab"]}, TEXTS) == [("abab", "bbbb")]


def test_kept_pairs_lose_a_tasks_own_questions_by_drop_questions():
    task = RetrievalTask("t", TEXTS, {"q": "AA a"}, {"q": {"a": 1}})
    pairs = keep_grounded(letters, {"a": ["aa  A", "aaaaa"]}, TEXTS, places=(1, 4))
    assert drop_questions(pairs, task) == [("aaaaa", "aaaa")]


def test_questions_for_a_text_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="'z', which is not among the texts"):
        keep_grounded(letters, {"z": ["a"]}, TEXTS)
    for places in ((0, 5), (3, 2)):
        with pytest.raises(ValueError, match="places is"):
            keep_grounded(letters, {}, TEXTS, places=places)


def test_nothing_written_is_nothing_kept():
    assert keep_grounded(letters, {"a": []}, TEXTS) == []
