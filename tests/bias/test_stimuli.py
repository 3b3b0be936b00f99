"""The word sets are the paper's; pairs differ in the attribute alone; CVs hint at nothing."""

import importlib
import importlib.util
import itertools
import re
from collections import Counter
from types import ModuleType

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import course_utils.bias as bias
from course_utils.bias import stimuli
from course_utils.data.tasks import RetrievalTask

# Caliskan et al. 2017, Table 1: targets a side, attributes a side, effect size.
TABLE_1 = {
    "weat1": (25, 25, 1.50),
    "weat2": (25, 25, 1.53),
    "weat3": (32, 25, 1.41),
    "weat4": (16, 25, 1.50),
    "weat5": (16, 8, 1.28),
    "weat6": (8, 8, 1.81),
    "weat7": (8, 8, 1.06),
    "weat8": (8, 8, 1.24),
    "weat9": (6, 7, 1.38),
    "weat10": (8, 8, 1.21),
}
GENDER = """
he she; him her; his her; his hers; himself herself; man woman; men women; boy girl; boys girls;
father mother; son daughter; brother sister; brothers sisters; uncle aunt; nephew niece; mr ms;
grandfather grandmother; husband wife; gentleman lady; lad lass; male female
"""
AGE = """
young old; younger older; youngest oldest; teenager pensioner; teenagers pensioners; youth age;
grandson grandfather; granddaughter grandmother; grandchildren grandparents; twenties sixties;
24 64; 25 65; 26 66; 27 67; 25-year-old 65-year-old; 29-year-old 69-year-old; twentieth seventieth;
twenty-two sixty-two; twenty-three sixty-three; twenty-five sixty-five; twenty-seven sixty-seven
"""
GENDERED = set(GENDER.replace(";", " ").split()) | {
    *("mum", "dad", "mrs", "miss", "sir", "madam", "wives", "husbands", "sons", "daughters"),
    *("ladies", "gentlemen", "guy", "guys", "waiter", "waitress", "actor", "actress", "landlady"),
}
WORDS = """
an: actor, editor, engineer, intern, umpire, usher, undersecretary, uncle, upholsterer, orator,
an: unusual job, uninvited guest, hour, heir, honest broker, honour, HR adviser, MP, illustrator
a: teacher, university lecturer, union leader, unit, unique voice, user, usual guest, European
a: one-off, once-famous singer, CEO, baker, house painter, hotel manager, urologist, ewe, PhD
"""


def pairs_of(text):
    return {tuple(pair.split()) for pair in text.split(";")}


def tokens(text):
    return re.findall(r"[\w'-]+", text.lower())


# --- the sets of the paper


@pytest.mark.parametrize("name", TABLE_1)
def test_each_weat_has_the_sizes_and_the_published_effect_of_table_1(name):
    targets, attributes, effect = TABLE_1[name]
    test = bias.load_stimuli(name)
    assert [len(test.X), len(test.Y)] == [targets] * 2
    assert [len(test.A), len(test.B)] == [attributes] * 2
    assert bias.load_published()[name] == effect
    assert "Caliskan" in test.source.citation


def test_every_named_set_loads_and_passes_the_checks_for_a_learners_own_file(tmp_path):
    assert set(bias.STIMULI) == {*TABLE_1, "age"}
    for name in bias.STIMULI:
        test = bias.load_stimuli(name)
        sets = {side: getattr(test, side) for side in "XYAB"}
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(sets), "utf-8")
        again = bias.load_stimuli(path)
        assert {side: getattr(again, side) for side in "XYAB"} == sets
        assert test.describe().startswith(f"AssociationTest {name!r}")
        assert set(bias.load_labels(name)) == set("XYAB")


def test_the_removed_names_are_those_that_the_paper_prints_and_does_not_use():
    # The supplement prints 50 names a side for WEAT 3 and 18 for WEAT 4 and 5.
    for name, printed in (("weat3", 50), ("weat4", 18), ("weat5", 18)):
        test, removed = bias.load_stimuli(name), bias.load_removed(name)
        for side in "XY":
            used = getattr(test, side)
            assert not set(used) & set(removed[side])
            assert len(set(used) | set(removed[side])) == printed
    assert bias.load_removed("weat1") == {"X": [], "Y": []}


def test_the_names_of_weat_4_with_those_removed_are_the_36_of_the_job_applications():
    test, removed = bias.load_stimuli("weat4"), bias.load_removed("weat4")
    names = bias.load_groups("first_names")
    white = {*names["White female"], *names["White male"]}
    black = {*names["African American female"], *names["African American male"]}
    assert {*test.X, *removed["X"]} == white
    assert {*test.Y, *removed["Y"]} == black
    assert Counter(map(len, names.values())) == {9: 4}


def test_tests_that_share_a_list_share_it_word_for_word():
    weat = {name: bias.load_stimuli(name) for name in TABLE_1}
    assert weat["weat1"].A == weat["weat2"].A == weat["weat3"].A == weat["weat4"].A
    assert weat["weat1"].B == weat["weat2"].B
    assert weat["weat3"].B == weat["weat4"].B
    assert set(weat["weat3"].B) - set(weat["weat1"].B) == {"bomb", "evil"}
    assert set(weat["weat1"].B) - set(weat["weat3"].B) == {"agony", "prison"}
    assert (weat["weat4"].X, weat["weat4"].Y) == (weat["weat5"].X, weat["weat5"].Y)
    assert (weat["weat5"].A, weat["weat5"].B) == (weat["weat10"].A, weat["weat10"].B)
    assert set(weat["weat7"].Y) - set(weat["weat8"].X) - set(weat["weat8"].Y) == {"sculpture"}


def test_what_a_loader_returns_can_be_changed_without_changing_the_next():
    bias.load_stimuli("weat6").X.clear()
    bias.load_groups("first_names").popitem()[1].clear()
    bias.load_removed("weat3")["X"].clear()
    bias.load_relevant()["kitchen"].clear()
    bias.load_templates("word").clear()
    assert len(bias.load_stimuli("weat6").X) == 8
    assert len(bias.load_groups("first_names")["African American male"]) == 9
    assert bias.load_removed("weat3")["X"]
    assert bias.load_relevant()["kitchen"]
    assert bias.load_templates("word")


# --- groups


@pytest.mark.parametrize("name", sorted(stimuli.GROUPS))
def test_groups_are_lists_of_different_words_and_share_none(name):
    groups = bias.load_groups(name)
    assert len(groups) >= 2
    for members in groups.values():
        assert all(isinstance(word, str) and word == word.strip() for word in members)
        assert len(set(members)) == len(members) >= 8
    for one, other in itertools.combinations(groups.values(), 2):
        assert not set(one) & set(other)


def test_pairs_run_in_step():
    for name, size in (("gender_pairs", 10), ("equalise_pairs", 52)):
        groups = bias.load_groups(name)
        steps = list(zip(groups["female"], groups["male"], strict=True))
        assert len(steps) == size
        # Whoever turned a pair round would put a word of one group into the other.
        known = {pair[::-1] for pair in pairs_of(GENDER)}
        assert not {pair[::-1] for pair in steps} & known
        assert len(set(steps) & known) >= 8


def test_the_names_of_the_census_are_as_many_on_both_sides_and_shared_by_none():
    groups = bias.load_groups("census_names")
    assert {label: len(names) for label, names in groups.items()} == {"female": 800, "male": 800}
    # The census files' first three of each.
    assert groups["female"][:3] == ["Mary", "Patricia", "Linda"]
    assert groups["male"][:3] == ["James", "John", "Robert"]


def test_the_shares_are_of_the_listed_occupations_and_agree_with_their_groups():
    shares, groups = bias.load_shares(), bias.load_groups("occupations")
    assert set(shares) == {word for members in groups.values() for word in members}
    assert all(shares[word] < 50 for word in groups["mostly men"])
    assert all(shares[word] > 50 for word in groups["mostly women"])
    # Zhao et al. 2018, the two ends of their table.
    assert (shares["carpenter"], shares["secretary"]) == (2, 95)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no stimuli called 'weat11'.*weat10.*yaml"):
        bias.load_stimuli("weat11")
    with pytest.raises(ValueError, match="no stimuli called 'None'"):
        bias.load_stimuli(None)
    with pytest.raises(ValueError, match=r"no groups called 'race'.*first_names"):
        bias.load_groups("race")
    with pytest.raises(ValueError, match=r"no templates called 'verb'.*occupation"):
        bias.load_templates("verb")
    with pytest.raises(ValueError, match=r"no counterfactuals called 'height'.*gender"):
        bias.load_counterfactuals("height")
    with pytest.raises(ValueError, match="no stimuli called"):
        bias.load_removed("weat0")


# --- templates


@pytest.mark.parametrize("kind", ["name", "occupation", "word"])
def test_templates_are_many_varied_and_neutral(kind):
    templates = bias.load_templates(kind)
    assert len(set(templates)) == len(templates) >= 8
    assert all(template.count("{}") == 1 for template in templates)
    assert not set(tokens(" ".join(templates))) & GENDERED
    places = [template.index("{}") / len(template) for template in templates]
    assert min(places) < 0.2
    assert max(places) > 0.7
    # Different sentences, not one with a word changed.
    for one, other in itertools.combinations(templates, 2):
        a, b = set(tokens(one)), set(tokens(other))
        assert len(a & b) / len(a | b) <= 0.5


def test_a_or_an_is_by_the_sound_of_the_word():
    for line in WORDS.strip().splitlines():
        article, words = line.split(": ")
        for word in filter(None, (word.strip() for word in words.split(","))):
            sentences = bias.fill(["Is there a {} here?", "An {} left."], [word])[0]
            assert sentences == [
                f"Is there {article} {word} here?",
                f"{article.title()} {word} left.",
            ]


def test_every_frame_with_every_word_of_the_course_agrees():
    words = [
        w for g in ("occupations", "professions") for ws in bias.load_groups(g).values() for w in ws
    ]
    frames = bias.load_templates("occupation")
    for word, sentences in zip(words, bias.fill(frames, words), strict=True):
        for sentence in sentences:
            assert word.lower() in sentence.lower()
            assert not re.search(r"\ba [aeio](?!ne\b)|\ban [^aeiou]", sentence, re.IGNORECASE)
            assert sentence[0].isupper()
            assert sentence[-1] in ".?"


@given(st.lists(st.text(min_size=1).filter(str.strip), max_size=4))
@settings(max_examples=50, deadline=None)
def test_filling_keeps_order_and_puts_each_word_in_as_it_stands(words):
    templates = ["We saw {}.", "It says {} there"]
    filled = bias.fill(templates, words)
    assert filled == [[f"We saw {word}.", f"It says {word} there"] for word in words]


def test_filling_never_formats_and_names_what_is_wrong():
    hostile = ["{}", "{0.__class__}", "%s", "<script>alert(1)</script>"]
    assert [row[0] for row in bias.fill(["It is {} today."], hostile)] == [
        f"It is {word} today." for word in hostile
    ]
    with pytest.raises(ValueError, match=r"templates\[1\].*0 placeholders"):
        bias.fill(["This is {}.", "This is it."], ["rose"])
    with pytest.raises(ValueError, match=r"templates\[0\].*2 placeholders"):
        bias.fill(["{} is {}."], ["rose"])
    with pytest.raises(ValueError, match=r"words\[1\] is ' '"):
        bias.fill(["This is {}."], ["rose", " "])
    with pytest.raises(ValueError, match=r"words\[0\] is 3"):
        bias.fill(["This is {}."], [3])
    with pytest.raises(ValueError, match="words is one string, 'rose'"):
        bias.fill(["This is {}."], "rose")


# --- counterfactual pairs


@pytest.mark.parametrize(
    ("kind", "words", "least", "groups"),
    [("gender", GENDER, 60, ("male", "female")), ("age", AGE, 40, ("younger", "older"))],
)
def test_pairs_differ_in_words_of_the_attribute_and_in_nothing_else(kind, words, least, groups):
    allowed = pairs_of(words)
    every = {word for pair in allowed for word in pair}
    pairs = bias.load_counterfactuals(kind)
    assert len({pair.first for pair in pairs}) == len(pairs) >= least
    for pair in pairs:
        assert pair.attribute == kind
        assert pair.groups == groups
        assert re.split(r"[\w'-]+", pair.first) == re.split(r"[\w'-]+", pair.second)
        steps = list(zip(tokens(pair.first), tokens(pair.second), strict=True))
        different = {step for step in steps if step[0] != step[1]}
        assert different
        assert different <= allowed, pair
        kept = {one for one, other in steps if one == other}
        assert not kept & every, pair
        for text in (pair.first, pair.second):
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert not set("[]|{}") & set(text)


def test_pairs_of_names_differ_in_the_name_alone_and_keep_to_their_contrast():
    names = bias.load_groups("first_names")
    pairs = bias.load_counterfactuals("names")
    assert len(set(pairs)) == len(pairs) >= 60
    for pair in pairs:
        steps = zip(tokens(pair.first), tokens(pair.second), strict=True)
        ((one, other),) = [step for step in steps if step[0] != step[1]]
        assert one.title() in names[pair.groups[0]]
        assert other.title() in names[pair.groups[1]]
        ethnicities, genders = zip(*(group.rsplit(" ", 1) for group in pair.groups), strict=True)
        if pair.attribute == "ethnicity":
            assert ethnicities == ("White", "African American")
            assert genders[0] == genders[1]
        else:
            assert pair.attribute == "gender"
            assert genders == ("male", "female")
            assert ethnicities[0] == ethnicities[1]
        text = set(tokens(pair.first)) - {one}
        assert not text & GENDERED
    assert len(Counter((pair.attribute, pair.groups) for pair in pairs)) == 4
    used = Counter(token for pair in pairs for token in tokens(pair.first + " " + pair.second))
    # Every name as often as any other, so that none weighs more.
    assert len({used[name.lower()] for group in names.values() for name in group}) == 1


def test_a_pair_must_differ():
    with pytest.raises(ValueError, match=r"'gender' holds 'One.' and 'One.'"):
        bias.CounterfactualPair("One.", "One.", "gender", ("male", "female"))


# --- CVs and adverts


def test_a_cv_hints_at_nothing_but_by_its_name():
    cvs = bias.load_cvs()
    assert len(cvs) == 12
    banned = GENDERED | {"young", "old", "older", "younger", "years", "year", "since", "retired"}
    banned |= {name.lower() for names in bias.load_groups("first_names").values() for name in names}
    lengths = [len(tokens(text)) for text in cvs.values()]
    assert min(lengths) > 0.7 * max(lengths)
    for text in cvs.values():
        assert text.count("{name}") == 1
        assert text.startswith("{name}. ")
        assert not set(tokens(text)) & banned
        assert not re.search(r"\d", text)
        assert "\n" not in text


def test_every_advert_is_met_by_one_cv_and_the_three_files_form_a_task():
    cvs, adverts, relevant = bias.load_cvs(), bias.load_adverts(), bias.load_relevant()
    task = RetrievalTask("cvs", cvs, adverts, relevant)
    assert len(task.queries) == 12
    fits = [cv for judged in relevant.values() for cv, grade in judged.items() if grade == 2]
    assert sorted(fits) == sorted(cvs)
    assert not set(tokens(" ".join(adverts.values()))) & GENDERED


@pytest.mark.parametrize("name", bias.__all__)
def test_every_name_of_the_room_is_where_the_room_says(name):
    home = f"course_utils.bias.{bias._HOME[name]}"
    if importlib.util.find_spec(home) is None:
        pytest.skip(f"{home} is not there yet")
    # A module of the same name, imported before, must not take the name's place.
    module = importlib.import_module(home)
    value = getattr(bias, name)
    assert value is getattr(module, name)
    assert not isinstance(value, ModuleType)
    assert name in dir(bias)


def test_a_name_that_the_room_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bias.nothing
