import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.expressions import (
    AFFECTNET,
    BASIC,
    CANONICAL,
    CFEE,
    CK_PLUS,
    FER2013,
    JAFFE,
    KDEF,
    LABEL_ORDERS,
    RAF_DB,
    RAFD,
    UnknownExpressionError,
    called_as,
    canonical,
    resolve_labels,
)
from emoaug import EmoaugError


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("neutral", "NE neutral Neutral NEU"),
        ("happy", "happiness HA joy smile smiling HAP Happy"),
        ("sad", "sadness SA SAD"),
        ("surprise", "surprised SU Surprise"),
        ("fear", "fearful afraid FE AF"),
        ("disgust", "disgusted DI DIS"),
        ("angry", "anger ANG AN Angry"),
        ("contempt", "contemptuous CO"),
        ("happily_surprised", "Happily-Surprised happilysurprised happy_surprise"),
        ("disgustedly_surprised", "disgustedly_surprised DISGUST-SURPRISE"),
        ("awed", "awe Awed"),
    ],
)
def test_synonyms_have_one_canonical_name(name, words):
    assert {canonical(word) for word in words.split()} == {name}


@given(st.sampled_from(CANONICAL), st.data())
def test_case_spaces_underscores_and_hyphens_do_not_matter(name, data):
    separator = data.draw(st.sampled_from(["", " ", "_", "-", " - "]))
    word = "".join(data.draw(st.sampled_from([c.upper(), c.lower()])) for c in name.replace("_", separator))
    assert canonical(f" {word} ") == name


def test_unknown_name_lists_what_is_known_and_how_to_map_it():
    with pytest.raises(UnknownExpressionError) as error:
        canonical("irritated")
    message = str(error.value)
    assert all(name in message for name in CANONICAL)
    assert "--labels irritated=CLASS" in message
    assert "--vocabulary" in message


def test_all_unknown_names_are_told_at_once():
    with pytest.raises(UnknownExpressionError, match=r'"calmm".*Unknown too: "tense", "hapy"\.$') as error:
        resolve_labels(["calmm", "happy", "tense", "hapy", "calmm"])
    assert error.value.label == "calmm"


@pytest.mark.parametrize(
    ("label", "vocabulary", "said"),
    [
        ("hapy", None, "Did you mean happy? Map it with --labels hapy=happy,"),
        ("Suprised", None, "Did you mean surprise? Map it with --labels Suprised=surprise,"),
        ("unhappy", None, "Map it with --labels unhappy=CLASS,"),
        ("very happy", None, "Map it with --labels 'very happy=CLASS',"),
        ("sub", None, "Map it with --labels sub=CLASS,"),
        ("joyful!", ["joy", "calm"], "Did you mean joy? Map it with --labels 'joyful!=joy',"),
        ("disgusst", ["happy", "sad"], "Map it with --labels disgusst=CLASS,"),
    ],
)
def test_the_way_out_of_an_unknown_name_is_what_was_meant_or_left_to_the_user(label, vocabulary, said):
    with pytest.raises(UnknownExpressionError) as error:
        resolve_labels([label, "happy", "sad"] if vocabulary is None else [label], None, vocabulary)
    assert said in str(error.value)


def test_expressions_are_called_as_a_vocabulary_calls_them():
    names = ("neutral", "happy", "sad", "angry")
    assert called_as(names, ("calm", "joy", "Anger", "sad")) == ("neutral", "joy", "sad", "Anger")
    assert called_as(names, ("joy", "happy")) == names
    assert called_as(names, ()) == names
    assert called_as(("mouthSmile", "jawOpen"), ("smile", "neutral")) == ("mouthSmile", "jawOpen")


def test_label_orders_as_published():
    assert [FER2013.label(i) for i in range(7)] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert [AFFECTNET.label(i) for i in range(8)] == list(BASIC)
    assert [RAF_DB.label(i) for i in range(1, 8)] == [
        *("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
    ]
    assert CK_PLUS.label("2") == "contempt"
    assert KDEF.label("AF") == "fear"
    assert JAFFE.label("FE") == "fear"
    assert RAFD.label("contemptuous") == "contempt"
    assert (len(CFEE.labels), CFEE.labels[0], CFEE.labels[-1]) == (22, "neutral", "awed")
    with pytest.raises(EmoaugError, match="RAF-DB has no expression '0'"):
        RAF_DB.label(0)


@pytest.mark.parametrize("order", LABEL_ORDERS.values(), ids=LABEL_ORDERS)
def test_every_order_is_consistent(order):
    assert len(order.labels) == len(order.codes) == len(set(order.labels)) == len(set(order.codes))
    assert set(order.labels) <= set(CANONICAL)
    for code, label in zip(order.codes, order.labels, strict=True):
        if not code.isdigit():
            assert canonical(code) == label


def test_without_vocabulary_the_classes_that_occur_in_canonical_order():
    labels, vocabulary, notes = resolve_labels(["Anger", "smiling", "smiling", "neutral"])
    assert labels == ["angry", "happy", "happy", "neutral"]
    assert vocabulary == ("neutral", "happy", "angry")
    assert notes == ("1 'Anger' read as angry", "2 'smiling' read as happy")


def test_mapping_is_literal_and_its_own_names_come_last():
    labels, vocabulary, _ = resolve_labels(
        ["Happy", "irritated", "bored", "sad"], {"happy": "joy", "BORED": "apathy"} | {"irritated": "Angry"}
    )
    assert labels == ["joy", "angry", "apathy", "sad"]
    assert vocabulary == ("sad", "angry", "apathy", "joy")


def test_two_names_for_one_expression_and_a_useless_rule_are_remarked():
    _, vocabulary, notes = resolve_labels(["happy", "grin"], {"grin": "joy", "frown": "sad"})
    assert vocabulary == ("happy", "joy")
    assert any("joy and happy are two classes" in note for note in notes)
    assert any("frown" in note and "did nothing" in note for note in notes)


def test_a_class_of_ones_own_that_looks_like_a_slip_is_remarked():
    *_, notes = resolve_labels(["smiling", "bored"], {"smiling": "hapy", "bored": "apathy"})
    assert [note for note in notes if "did you mean" in note] == ["hapy is a class of its own; did you mean happy?"]
    *_, notes = resolve_labels(["smiling"], {"smiling": "hapy"}, ["hapy"])
    assert not any("did you mean" in note for note in notes)


def test_vocabulary_gives_exactly_these_classes_in_this_order():
    labels, vocabulary, notes = resolve_labels(
        ["happy", "sadness", "irritated"], None, ["irritated", "joy", "sad", "fear"]
    )
    assert labels == ["joy", "sad", "irritated"]
    assert vocabulary == ("irritated", "joy", "sad", "fear")
    assert "no picture of fear" in notes


def test_vocabulary_prefers_the_literal_name_and_asks_when_two_would_do():
    labels, _, _ = resolve_labels(["smile", "joy"], None, ["joy", "smile"])
    assert labels == ["smile", "joy"]
    with pytest.raises(EmoaugError, match=r"joy or smile.*--labels happy=joy"):
        resolve_labels(["happy"], None, ["joy", "smile"])


def test_label_outside_the_vocabulary_is_an_error_that_lists_it():
    with pytest.raises(UnknownExpressionError, match=r"disgust.*Known here: happy, sad") as error:
        resolve_labels(["happy", "Disgusted"], {"disgusted": "disgust"}, ["happy", "sad"])
    assert error.value.label == "Disgusted"


def test_unknown_label_without_vocabulary_names_the_classes_of_the_data():
    with pytest.raises(UnknownExpressionError) as error:
        resolve_labels(["happy", "angry", "irritated"])
    assert "Known here: happy, angry." in str(error.value)
    assert "--labels irritated=CLASS" in str(error.value)
    assert "--vocabulary happy,angry,irritated" in str(error.value)


@pytest.mark.parametrize("bad", ["a,b", "a\nb", "a/b", "..", "a..b", "\\x", ".hidden", "", " ", "x" * 101, "a\0b"])
def test_names_that_cannot_be_folders_are_refused(bad):
    with pytest.raises(EmoaugError):
        resolve_labels(["happy"], {"happy": bad})
    with pytest.raises(EmoaugError):
        resolve_labels(["happy"], None, ["happy", bad])


def test_vocabulary_with_a_class_twice_is_refused():
    with pytest.raises(EmoaugError, match="twice"):
        resolve_labels(["happy"], None, ["happy", "Happy"])


@given(st.lists(st.sampled_from([*CANONICAL, "Anger", "JOY", "smiling"]), min_size=1))
def test_every_label_is_in_the_vocabulary_and_resolving_again_changes_nothing(names):
    labels, vocabulary, _ = resolve_labels(names)
    assert set(labels) == set(vocabulary)
    assert resolve_labels(labels) == (labels, vocabulary, ())
    assert resolve_labels(labels, None, vocabulary)[:2] == (labels, vocabulary)
