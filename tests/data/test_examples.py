"""The writer's examples come from outside every test of the course."""

import pytest

from course_utils.data import RetrievalTask, load_examples, load_task, load_written_questions
from course_utils.data.medical import word_stems

NAMES = ("terms", "manuals", "titles", "notices")
TASKS = (
    "medical", "medical/near-synonym", "medical/with-definitions", "python-docs", "company-wiki",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_pairs_of_different_texts(name):
    pairs = load_examples(name)
    assert len(pairs) == len(set(pairs)) >= 6
    assert all(text.strip() and asked.strip() for text, asked in pairs)


@pytest.mark.parametrize("task", TASKS)
def test_no_example_is_worded_as_a_question_of_a_task(task):
    """Nor is it nearly: whoever shares three stems out of four with a question gives it away."""
    stems = [word_stems(question) for question in load_task(task).queries.values()]
    for name in NAMES:
        for _, asked in load_examples(name):
            mine = word_stems(asked)
            close = [one for one in stems if len(one) > 1 and len(mine & one) >= 0.75 * len(one)]
            assert not close, (asked, close)


@pytest.mark.parametrize("task", TASKS)
def test_no_examples_text_is_a_document_or_about_one(task):
    """A term named in an example would tell the writer of it: its first words are no document's."""
    corpus = load_task(task).corpus.values()
    beginnings = {" ".join(text.casefold().split()[:3]).strip(".:,") for text in corpus}
    for name in NAMES:
        for text, _ in load_examples(name):
            assert text.split(".")[0].casefold() not in beginnings
            assert " ".join(text.casefold().split()[:3]).strip(".:,") not in beginnings


def test_the_check_finds_what_it_looks_for():
    task = RetrievalTask("t", {"d": "x"}, {"q": "seedlings floppy"}, {"q": {"d": 1}})
    mine, theirs = (word_stems(t) for t in (load_examples("terms")[1][1], task.queries["q"]))
    assert len(mine & theirs) >= 0.75 * len(theirs)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"called 'songs'. Known are terms, manuals"):
        load_examples("songs")


def test_written_questions_are_of_terms_that_exist_and_of_no_medical_test():
    from course_utils.adaptation import drop_questions

    written = load_written_questions()
    corpus = load_task("medical/with-definitions").corpus
    pairs = [(asked, corpus[key]) for asked, key in written]
    assert len(set(pairs)) == len(pairs) > 3000
    tests = [
        load_task("medical/with-definitions/no-shared-word"), load_task("medical/near-synonym"),
    ]  # fmt: skip
    assert drop_questions(pairs, *tests) == pairs
