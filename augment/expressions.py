"""Names of expressions: one canonical word each, the words datasets use for it, and the datasets' label orders."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from emoaug import EmoaugError

BASIC = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
"""Canonical names of the neutral face and the seven expressions that most datasets label."""

SEVEN = BASIC[:7]
"""The classes that nearly every dataset has."""

COMPOUND = (
    "happily_surprised",
    "happily_disgusted",
    "sadly_fearful",
    "sadly_angry",
    "sadly_surprised",
    "sadly_disgusted",
    "fearfully_angry",
    "fearfully_surprised",
    "fearfully_disgusted",
    "angrily_surprised",
    "angrily_disgusted",
    "disgustedly_surprised",
    "appalled",
    "hatred",
    "awed",
)
"""Canonical names of the compound expressions.

Source: Du, Tao & Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014.
"""

CANONICAL = BASIC + COMPOUND
"""Every canonical name, in canonical order."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "neutral": ("ne", "neu", "neutrality"),
    "happy": ("ha", "hap", "happiness", "joy", "joyful", "smile", "smiling"),
    "sad": ("sa", "sadness"),
    "surprise": ("su", "sur", "surprised"),
    "fear": ("fe", "fea", "af", "afr", "fearful", "afraid", "scared"),
    "disgust": ("di", "dis", "disgusted"),
    "angry": ("an", "ang", "anger"),
    "contempt": ("co", "con", "contemptuous"),
    "appalled": ("appall",),
    "hatred": ("hate", "hateful"),
    "awed": ("awe",),
}

# The halves of a compound, as datasets write them: "happily surprised", "Happy_Surprise", "sad-fear", ...
_HALVES: dict[str, tuple[str, ...]] = {
    "happily": ("happily", "happy"),
    "sadly": ("sadly", "sad"),
    "fearfully": ("fearfully", "fearful", "fear"),
    "angrily": ("angrily", "angry"),
    "disgustedly": ("disgustedly", "disgusted", "disgust"),
    "surprised": ("surprised", "surprise"),
    "disgusted": ("disgusted", "disgust"),
    "fearful": ("fearful", "fear"),
    "angry": ("angry", "anger"),
}


def _key(name: str) -> str:
    """Forget case, spaces, underscores and hyphens."""
    return "".join(name.split()).replace("_", "").replace("-", "").casefold()


def _known_keys() -> dict[str, str]:
    """Map the key of every known word to its canonical name."""
    known = {_key(word): name for name in CANONICAL for word in (name, *_SYNONYMS.get(name, ()))}
    for name in COMPOUND:
        if "_" in name:
            first, second = name.split("_")
            known |= {a + b: name for a in _HALVES[first] for b in _HALVES[second]}
    return known


_KNOWN = _known_keys()


class UnknownExpressionError(EmoaugError):
    """A label that no rule turns into a class."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label
        """The label as the dataset has it."""


@dataclass(frozen=True)
class LabelOrder:
    """The expressions of a published dataset in the order of its class indices."""

    dataset: str
    """The dataset's name."""
    labels: tuple[str, ...]
    """Canonical names, in index order."""
    codes: tuple[str, ...]
    """What the dataset writes for each label: numbers, letters or words."""
    source: str
    """The publication that defines the labels."""

    def label(self, code: str | int) -> str:
        """Return the canonical name for a code of the dataset.

        Raises:
            EmoaugError: the dataset has no such code.
        """
        text = str(code).strip()
        if text not in self.codes:
            raise EmoaugError(f"{self.dataset} has no expression {text!r}; its codes are {', '.join(self.codes)}")
        return self.labels[self.codes.index(text)]

    def renames(self) -> dict[str, str]:
        """What each code means, for `resolve_labels`."""
        return dict(zip(self.codes, self.labels, strict=True))


FER2013 = LabelOrder(
    "FER2013",
    ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    ("0", "1", "2", "3", "4", "5", "6"),
    'Goodfellow et al., "Challenges in representation learning", ICML 2013 workshop, arXiv 1307.0414',
)
AFFECTNET = LabelOrder(
    "AffectNet-8",
    ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"),
    ("0", "1", "2", "3", "4", "5", "6", "7"),
    'Mollahosseini et al., "AffectNet", IEEE Trans. Affective Computing 10(1), 2019, arXiv 1708.03985',
)
RAF_DB = LabelOrder(
    "RAF-DB",
    ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
    ("1", "2", "3", "4", "5", "6", "7"),
    'Li, Deng & Du, "Reliable crowdsourcing and deep locality-preserving learning", CVPR 2017',
)
CK_PLUS = LabelOrder(
    "CK+",
    ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"),
    ("0", "1", "2", "3", "4", "5", "6", "7"),
    'Lucey et al., "The Extended Cohn-Kanade Dataset (CK+)", CVPR workshops 2010',
)
RAFD = LabelOrder(
    "RaFD",
    ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"),
    'Langner et al., "Presentation and validation of the Radboud Faces Database", Cognition & Emotion 24(8), 2010',
)
KDEF = LabelOrder(
    "KDEF",
    ("fear", "angry", "disgust", "happy", "neutral", "sad", "surprise"),
    ("AF", "AN", "DI", "HA", "NE", "SA", "SU"),
    "Lundqvist, Flykt & Öhman, The Karolinska Directed Emotional Faces (KDEF), Karolinska Institutet 1998",
)
JAFFE = LabelOrder(
    "JAFFE",
    ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    ("AN", "DI", "FE", "HA", "NE", "SA", "SU"),
    'Lyons et al., "Coding facial expressions with Gabor wavelets", FG 1998',
)
CFEE = LabelOrder(
    "CFEE-22",
    ("neutral", "happy", "sad", "fear", "angry", "surprise", "disgust", *COMPOUND),
    (
        *("neutral", "happy", "sad", "fearful", "angry", "surprised", "disgusted"),
        *(name.replace("_", " ") for name in COMPOUND),
    ),
    'Du, Tao & Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014, figure 1',
)

LABEL_ORDERS = {order.dataset: order for order in (FER2013, AFFECTNET, RAF_DB, CK_PLUS, RAFD, KDEF, JAFFE, CFEE)}
"""The label orders by dataset name."""


def label_order(name: str) -> LabelOrder | None:
    """The label order of a dataset, by its name in any case; None where none is known."""
    return next((order for known, order in LABEL_ORDERS.items() if known.casefold() == name.strip().casefold()), None)


_NUMBERED = [name for name, order in LABEL_ORDERS.items() if order.codes[1].isdigit()]


def canonical(name: str) -> str:
    """Return the canonical name of an expression; case, spaces, underscores and hyphens do not matter.

    Args:
        name: a canonical name or a synonym, such as "Anger", "HA", "smiling" or "happily surprised".

    Raises:
        UnknownExpressionError: no known word; the message lists the known ones and says how to map the name.
    """
    known = _KNOWN.get(_key(name))
    if known is None:
        every = f"{', '.join(BASIC)}, and the compounds {', '.join(COMPOUND)}"
        raise _unknown(name, name, BASIC, every, closed=False)
    return known


def _meant(wanted: str, words: Mapping[str, str]) -> str | None:
    """The word that a name is a slip of, among words by their keys; None where it is like none of them."""
    key = _key(wanted)
    near = difflib.get_close_matches(key, words, 1, 0.75)
    # What is longer by more than a slip says more: unhappy is not happy. Two letters of three may be chance.
    return words[near[0]] if near and 3 < len(key) <= len(near[0]) + 1 else None


def _unknown(label: str, wanted: str, classes: Sequence[str], known: str, closed: bool) -> UnknownExpressionError:
    """Say which name is wanted for a label but unknown, what is known, and how to go on."""
    own = {_KNOWN.get(_key(name), name): name for name in classes}
    words = {key: own.get(name, name) for key, name in _KNOWN.items() if name in own or not closed}
    words |= {_key(name): name for name in classes}
    meant = _meant(wanted, words)
    question = f"Did you mean {meant}? " if meant else ""
    if wanted.isdigit() and not closed:
        question = f"If it is a number of a published dataset, name that: --labels {' or '.join(_NUMBERED)}. "
    # What no one can know is left to be filled in: followed blindly, a guess would be a wrong label.
    renaming, vocabulary = quote(f"{label}={meant or 'CLASS'}"), quote(",".join([*classes, wanted]))
    return UnknownExpressionError(
        label,
        f'unknown expression "{wanted}". Known here: {known}. '
        f"{question}Map it with --labels {renaming}, or add it with --vocabulary {vocabulary}.",
    )


def check_class_name(name: str) -> None:
    """Refuse what cannot be a class, because class names become folder names and travel in comma-separated lists.

    Raises:
        EmoaugError: the name is empty, too long, hidden, or has a character that is not allowed.
    """
    bad = sorted({c for c in name if c in ',/\\:*?"<>|' or not c.isprintable()})
    if not name or name != name.strip() or name.startswith(".") or ".." in name or bad or len(name.encode()) > 100:
        raise EmoaugError(
            f"{name!r} cannot be a class, because class names become folder names: 1 to 100 bytes, none of "
            ", / \\ : * ? \" < > |, no control character or '..', no space at the ends, no dot in front. "
            "Map it with --labels."
        )


def known_as(name: str, vocabulary: Sequence[str]) -> str | None:
    """What a vocabulary calls an expression, by its very name or as a synonym of it; None where it lacks it."""
    if name in vocabulary:
        return name
    try:
        return resolve_labels([name], vocabulary=vocabulary)[0][0]
    except EmoaugError:
        return None


def called_as(names: Sequence[str], vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Expressions as a vocabulary calls them: each that it has a synonym of by that one, the others as they are."""
    others = [word for word in vocabulary if word not in names]
    known = {known_as(word, names): word for word in others}
    return tuple(name if name in vocabulary else known.get(name, name) for name in names)


def resolve_labels(
    names: Sequence[str], mapping: Mapping[str, str] | None = None, vocabulary: Sequence[str] | None = None
) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Turn a dataset's own labels into classes.

    A label that `mapping` names becomes the class that it says, literally: {"happy": "joy"} makes a class "joy".
    Any other label becomes its canonical name. With a vocabulary, a label becomes the class of that very name or
    else the class that is its synonym, so {"joy", "sad"} takes "happy" as "joy".

    Args:
        names: the dataset's labels, one a picture.
        mapping: from labels of the dataset (in any case) to class names.
        vocabulary: exactly these classes, in this order; by default the canonical names that occur, in canonical
            order, and after them the others that `mapping` made, sorted.

    Returns:
        The class of each picture, the vocabulary, and one-line notes on what was read as what.

    Raises:
        EmoaugError: an unknown label (`UnknownExpressionError`), a class name that cannot name a folder, or a
            vocabulary that names a class twice.
    """
    rules = {key.strip().casefold(): value.strip() for key, value in (mapping or {}).items()}
    classes = None if not vocabulary else _checked_vocabulary(vocabulary)
    counts = Counter(names)
    found, unknown = {}, []
    for name in counts:
        try:
            found[name] = _resolve(name, rules, classes, list(counts))
        except UnknownExpressionError as error:
            unknown.append(error)
    if unknown:
        others = ", ".join(f'"{error.label}"' for error in unknown[1:])
        raise UnknownExpressionError(unknown[0].label, f"{unknown[0]}" + f" Unknown too: {others}." * bool(others))
    labels = [found[name] for name in names]

    present = set(found.values())
    if classes is None:
        custom = sorted(present.difference(CANONICAL))
        classes = (*(name for name in CANONICAL if name in present), *custom)
    notes = [
        f"{count} '{name}' read as {found[name]}"
        for name, count in counts.items()
        if name.strip().casefold() != found[name].casefold()
    ]
    unused = [key for key in rules if key not in {name.strip().casefold() for name in names}]
    notes += [f"no picture is labelled '{key}', so the renaming {key}={rules[key]} did nothing" for key in unused]
    notes += [f"no picture of {name}" for name in classes if name not in present]
    if not vocabulary:
        slips = {name: _meant(name, _KNOWN) for name in classes if _key(name) not in _KNOWN}
        notes += [f"{name} is a class of its own; did you mean {meant}?" for name, meant in slips.items() if meant]
    notes += [
        f"{name} and {_KNOWN[_key(name)]} are two classes; --labels can merge them"
        for name in classes
        if name not in CANONICAL and _KNOWN.get(_key(name)) in present
    ]
    return labels, classes, tuple(notes)


def _checked_vocabulary(vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Check the names of a vocabulary and that none occurs twice, whatever its case."""
    classes = tuple(name.strip() for name in vocabulary)
    for name in classes:
        check_class_name(name)
    twice = [name for name, count in Counter(map(str.casefold, classes)).items() if count > 1]
    if twice:
        raise EmoaugError(f"the vocabulary {','.join(classes)} names {twice[0]!r} twice; name each class once")
    return classes


def _resolve(name: str, rules: Mapping[str, str], classes: tuple[str, ...] | None, names: Sequence[str]) -> str:
    """Find the class of one label; `names` are the dataset's other labels, for the error message."""
    mapped = rules.get(name.strip().casefold())
    wanted = name.strip() if mapped is None else mapped
    if classes is None:
        if mapped is not None:
            check_class_name(mapped)
            # "Angry" is angry and no class of its own: two folders whose names differ in case only are one folder on
            # many disks. A real synonym, such as joy, stays as the user wrote it.
            return next((c for c in CANONICAL if _key(c) == _key(mapped)), mapped)
        if _key(wanted) in _KNOWN:
            return _KNOWN[_key(wanted)]
        present = {_KNOWN[_key(n)] for n in names if _key(n) in _KNOWN}
        known = tuple(c for c in CANONICAL if c in present) or BASIC
        raise _unknown(name, wanted, known, ", ".join(known), closed=False)
    for same in (str, str.casefold, _key):
        literal = [c for c in classes if same(c) == same(wanted)]
        if literal:
            return literal[0]
    meaning = _KNOWN.get(_key(wanted))
    similar = [c for c in classes if meaning is not None and _KNOWN.get(_key(c)) == meaning]
    if len(similar) > 1:
        raise UnknownExpressionError(
            name,
            f'"{name}" could be {" or ".join(similar)}; say which with --labels {quote(f"{name}={similar[0]}")}.',
        )
    if not similar:
        raise _unknown(name, wanted, classes, ", ".join(classes), closed=True)
    return similar[0]
