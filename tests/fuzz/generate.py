"""Makes up requests: which tricks meet in one follows from the seed and the request's number alone."""

import random
from collections.abc import Callable, Sequence

from fuzz.corpus import Corpus
from fuzz.draft import Draft
from fuzz.fleet import VARIANTS
from fuzz.tricks import addresses, cookies, framing, headers, tokens

Trick = Callable[[Draft], None]

CLASSES: dict[str, tuple[float, Sequence[tuple[float, Trick]]]] = {
    "token": (30, tokens.TRICKS),
    "cookie": (16, cookies.TRICKS),
    "header": (24, headers.TRICKS),
    "address": (18, addresses.TRICKS),
    "framing": (12, framing.TRICKS),
}
"""How often each class begins a request, and its tricks with how often each is played."""

MORE_SHARE = 0.35
"""Of the requests, how many have a trick of another class beside; and of these, a third one."""

_MIXED = ("token", "cookie", "header", "address")


def draft(seed: int, number: int, corpus: Corpus) -> Draft:
    """The request of this number."""
    rng = random.Random((seed << 40) + number)
    made = Draft(number, rng.choice(VARIANTS), corpus, rng)
    first = rng.choices(list(CLASSES), [weight for weight, _ in CLASSES.values()])[0]
    _play(made, first)
    if first != "framing":
        rest = [name for name in _MIXED if name != first]
        while rest and rng.random() < MORE_SHARE:
            _play(made, rest.pop(rng.randrange(len(rest))))
    return made


def _play(made: Draft, name: str) -> None:
    tricks = CLASSES[name][1]
    trick = made.rng.choices([trick for _, trick in tricks], [weight for weight, _ in tricks])[0]
    made.tricks.append(f"{name}.{trick.__name__}")
    trick(made)


def class_of(made: Draft) -> str:
    """The class and the trick that began it: a row of the report."""
    return made.tricks[0]
