"""A shadow ends whatever comes of it, and a move goes on only where enough was compared and little differed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from cellplane.errors import CellplaneError, UnreachableError
from cellplane.moves.driver import Driver
from cellplane.moves.errors import ChangedError, MoveError, NotTheSameError, StoreError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.settings import ShadowSettings
from cellplane.moves.shadowing import Heard, NoShadows, Note, Sample, Seen, ShadowRules, Shadows, Sight
from cellplane.moves.steps import Steps
from support.moving import SOURCE, TARGET, TENANT, WorldBook, WorldMover, driver_in, world_that_follows

MOVE = Move("m1", TENANT, SOURCE, TARGET, True, 0.0, shadow_seconds=10.0, phase=Phase.VERIFIED)


SAME, OLD = "GET /orders/*: /price number / text of 5", "GET /stock/*: /left number / nothing"


@dataclass
class Counted(Shadows):
    """Says one count after the other, and the last of them for ever: of one router, or of those that are named."""

    counts: Sequence[Seen | Mapping[str, Heard]]
    rules: ShadowRules = field(default_factory=ShadowRules)
    has_begun: bool = False
    ends: int = 0
    looks_made: int = 0

    def begin(self, move: Move, note: Note) -> int:
        note(has_shadow=True)
        self.has_begun = True
        return 1

    def look(self, move: Move) -> Sight:
        now, *rest = self.counts
        self.counts = rest or [now]
        self.looks_made += 1
        # Two requests that differ alike: one before the shadow, and one in it.
        samples = tuple(Sample(at, text) for at, text in ((1.0, OLD), (1.0, SAME), (9.0, SAME))[: 1 + self.looks_made])
        return Sight({"router-1": Heard(now)} if isinstance(now, Seen) else now, samples)

    def is_on(self, move: Move) -> bool:
        return self.has_begun

    def end(self, move: Move) -> bool:
        was_on, self.has_begun = self.has_begun, False
        self.ends += 1
        return was_on


def driver_of(shadows: Shadows, book: WorldBook) -> Driver:
    world = world_that_follows()
    return driver_in(world, book, shadows=shadows, shadowing=ShadowSettings())


def driver_by_clock(book: WorldBook, shadows_of: Callable[[Callable[[], float]], Shadows]) -> Driver:
    """One whose shadows go by the same clock."""
    now = [1_000.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    shadows = shadows_of(lambda: now[0])
    driver = driver_of(shadows, book)
    steps_of = driver.steps_of

    def steps_by_clock(move: Move) -> Steps:
        return replace(steps_of(move), monotonic=lambda: now[0], pause=pause)

    return replace(driver, steps_of=steps_by_clock, clock=lambda: now[0])


class Told(WorldBook):
    """Notes what is told, and may be asked for something meanwhile."""

    def __init__(self, move: Move, wish_then: Wish = Wish.RUN) -> None:
        super().__init__(move)
        self.said: list[str] = []
        self.wish_then = wish_then

    def tell(self, move_id: str, progress: object) -> None:
        self.said.append(progress.doing)  # type: ignore[attr-defined]
        self.wanted = self.wish_then


def test_what_is_compared_meanwhile_is_counted_also_where_routers_count_anew() -> None:
    shadows = Counted([Seen(1_000, 500), Seen(1_040, 500), Seen(30, 0), Seen(59, 1)])
    book = Told(replace(MOVE, shadow_seconds=1.0))
    reached = driver_of(shadows, book).advance("m1")
    assert (reached.phase, reached.shadow_compared, reached.shadow_differing) == (Phase.SHADOWED, 100, 1)
    assert (shadows.has_begun, shadows.ends) == (False, 1)
    assert book.said[0] == "comparing answers for 1 s more: 40 so far, 0 of them differ"


HISTORY, NEWS = Seen(10_000), Seen(0, 50)
BEFORE = {"a": Heard(HISTORY), "b": Heard(HISTORY)}


@pytest.mark.parametrize(
    "then",
    [
        [{"a": Heard(NEWS), "b": Heard(HISTORY + NEWS)}],
        [{"b": Heard(HISTORY + NEWS)}, {"a": Heard(HISTORY + NEWS), "b": Heard(HISTORY + NEWS)}],
        [{}, {"a": Heard(HISTORY + NEWS), "b": Heard(HISTORY + NEWS)}],
        [{"a": Heard(HISTORY + NEWS), "b": Heard(HISTORY + NEWS), "c": Heard(HISTORY)}],
        [{"a": Heard(), "b": Heard()}, {"a": Heard(NEWS), "b": Heard(NEWS)}],
    ],
    ids=["an agent begins anew", "a router is forgotten", "all are forgotten", "one is heard of late", "all anew"],
)
def test_what_was_counted_before_decides_nothing(then: list[dict[str, Heard]]) -> None:
    shadows = Counted([BEFORE, *then])
    with pytest.raises(NotTheSameError, match=r"of 100 answers 100 differ between cell-1 and cell-2, and 0 did not"):
        driver_of(shadows, WorldBook(MOVE)).advance("m1")


def test_what_another_control_plane_heard_before_is_no_news() -> None:
    then = [Heard(HISTORY + Seen(98), at=3.0), Heard(HISTORY + Seen(40), at=2.0), Heard(HISTORY + Seen(98, 2), at=4.0)]
    shadows = Counted([{"a": Heard(HISTORY, at=1.0)}, *({"a": heard} for heard in then)])
    reached = driver_of(shadows, WorldBook(MOVE)).advance("m1")
    assert (reached.shadow_compared, reached.shadow_differing) == (100, 2)


def test_too_many_that_differ_or_do_not_come_keep_a_move_from_going_on() -> None:
    for wrong in (Seen(97, 3), Seen(97, 0, 3), Seen(97, 1, 2)):
        shadows = Counted([Seen(), wrong])
        book = WorldBook(MOVE)
        with pytest.raises(NotTheSameError, match=r"of 100 answers .* 2 % may; GET [^;]*: `cellplane shadow`"):
            driver_of(shadows, book).advance("m1")
        assert (book.move.phase, shadows.has_begun) == (Phase.VERIFIED, False)
        assert "of 100 answers" in book.move.reason
    few = Counted([Seen(), Seen(98, 1, 1)])
    assert driver_of(few, WorldBook(MOVE)).advance("m1").phase is Phase.SHADOWED


LARGE = ShadowRules(ignore=("/at",))


@pytest.mark.parametrize(
    ("rules", "seen", "says"),
    [
        (ShadowRules(), Seen(1, 0, 0, 99), "of 100 answers 99 differ between cell-1 and cell-2"),
        (ShadowRules(), Seen(0, 0, 0, 5), "of 5 answers 5 differ between cell-1 and cell-2"),
        (LARGE, Seen(1, 0, 0, 2), "2 answers differ between .* too large .* ignored, where 1 could be compared"),
        (LARGE, Seen(0, 0, 0, 5), "5 answers differ between .* too large .* ignored, where 0 could be compared"),
    ],
)
def test_large_answers_that_differ_keep_a_move_from_going_on(rules: ShadowRules, seen: Seen, says: str) -> None:
    with pytest.raises(NotTheSameError, match=says):
        driver_of(Counted([Seen(), seen], rules), WorldBook(MOVE)).advance("m1")


def test_large_answers_that_nobody_can_compare_are_told_of() -> None:
    reached = driver_of(Counted([Seen(), Seen(50, 1, 0, 49)], LARGE), WorldBook(MOVE)).advance("m1")
    assert reached.phase is Phase.SHADOWED
    assert (reached.shadow_compared, reached.shadow_differing, reached.shadow_too_large) == (51, 1, 49)


def test_a_shadow_that_compared_nothing_shows_nothing() -> None:
    with pytest.raises(MoveError, match="no answers were compared in 10 s: acme read nothing, or cell-2 takes no"):
        driver_of(Counted([Seen(5, 5)]), WorldBook(MOVE)).advance("m1")


def test_who_wants_another_thing_ends_it() -> None:
    shadows = Counted([Seen(), Seen(100)])
    book = Told(MOVE, wish_then=Wish.ABORT)
    driver = driver_of(shadows, book)
    assert driver.advance("m1").phase is Phase.VERIFIED
    assert (shadows.has_begun, shadows.ends) == (False, 1)
    assert driver.advance("m1").phase is Phase.ABORTING


def test_what_a_dead_one_left_ends_with_the_move() -> None:
    shadows = Counted([Seen()], has_begun=True)
    book = WorldBook(replace(MOVE, has_shadow=True), wanted=Wish.ABORT)
    assert driver_of(shadows, book).advance("m1").phase is Phase.ABORTING
    assert not shadows.has_begun
    shadows.has_begun = True
    assert driver_of(shadows, book).advance("m1").phase is Phase.ABORTED
    assert not shadows.has_begun, "also one that was begun behind that"


def test_a_database_that_is_away_keeps_no_shadow_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_mover: WorldMover) -> None:
        raise StoreError("it is away")

    monkeypatch.setattr(WorldMover, "reconnect", away)
    shadows = Counted([Seen()], has_begun=True)
    book = WorldBook(replace(MOVE, has_shadow=True), wanted=Wish.ABORT)
    assert driver_of(shadows, book).advance("m1").phase is Phase.ABORTING
    assert not shadows.has_begun


def test_one_that_the_tenant_has_is_nothing_to_a_move_that_began_none() -> None:
    shadows = Counted([Seen()], has_begun=True)
    book = WorldBook(MOVE, wanted=Wish.ABORT)
    driver = driver_of(shadows, book)
    assert [driver.advance("m1").phase for _ in range(2)] == [Phase.ABORTING, Phase.ABORTED]
    assert (shadows.has_begun, shadows.ends) == (True, 0)


WAIT_SECONDS = 20.0
"""How long a router waits for an answer."""


@dataclass
class Hanging(Shadows):
    """A target that hangs on some reads: each is counted when its time is up, and routers say that they wait."""

    clock: Callable[[], float]
    hangs: bool = True
    says: bool = True
    """Whether the router is of a release that says for how long it has waited."""

    others: Mapping[str, Heard] = field(default_factory=dict)
    rules: ShadowRules = field(default_factory=ShadowRules)
    began: float | None = None
    ended: float | None = None

    def begin(self, move: Move, note: Note) -> int:
        note(has_shadow=True)
        self.began = self.clock()
        return 1

    def look(self, move: Move) -> Sight:
        """Ten reads a second, of which one is never answered by the target."""
        if self.began is None:
            return Sight({"r": Heard()})
        now = self.clock()
        until = now if self.ended is None else self.ended
        reads, late = until - self.began, max(0.0, min(now - WAIT_SECONDS, until) - self.began)
        waits = 0.0 if now - until > WAIT_SECONDS else min(now - self.began, WAIT_SECONDS)
        if not self.hangs:
            late = waits = 0.0
        seen = Seen(round(9 * reads), 0, round(late))
        return Sight({"r": Heard(seen, waiting_seconds=waits if self.says else None), **self.others})

    def is_on(self, move: Move) -> bool:
        return True

    def end(self, move: Move) -> bool:
        self.ended = self.clock()
        return True


@pytest.mark.parametrize("says", [True, False])
def test_a_target_that_hangs_on_some_reads_does_not_get_the_tenant(says: bool) -> None:
    book = Told(MOVE)
    with pytest.raises(NotTheSameError, match="of 100 answers 0 differ between cell-1 and cell-2, and 10 did not come"):
        driver_by_clock(book, lambda clock: Hanging(clock, says=says)).advance("m1")
    assert book.said[-1].startswith("waiting for the last answers: ")


def test_a_target_that_answers_is_waited_for_no_longer_than_needed() -> None:
    now: list[Callable[[], float]] = []

    def well(clock: Callable[[], float]) -> Shadows:
        now.append(clock)
        # Of others: one that died, and one whose answers of other tenants are under way all the while.
        others = {"lost": Heard(age_seconds=900.0, is_lost=True), "busy": Heard(age_seconds=1.0, waiting_seconds=0.5)}
        return Hanging(clock, hangs=False, others=others)

    driver = driver_by_clock(WorldBook(replace(MOVE, shadow_seconds=1_000.0)), well)
    (clock,) = now
    began = clock()
    assert driver.advance("m1").phase is Phase.SHADOWED
    settings = ShadowSettings()
    assert clock() - began - 1_000.0 == settings.settle_seconds + 1.5 < settings.late_seconds


def test_who_waits_for_the_last_answers_hears_what_is_wanted() -> None:
    book = Told(MOVE)

    def then_abort(clock: Callable[[], float]) -> Shadows:
        class Asking(Hanging):
            def end(self, move: Move) -> bool:
                book.wanted = book.wish_then = Wish.ABORT
                return super().end(move)

        return Asking(clock)

    driver = driver_by_clock(book, then_abort)
    assert driver.advance("m1").phase is Phase.VERIFIED
    assert driver.advance("m1").phase is Phase.ABORTING
    assert sum(said.startswith("waiting for the last answers") for said in book.said) == 1


@dataclass
class Shaky(Counted):
    """The control plane does not answer now and then, or somebody else was first."""

    errors: list[Exception | None] = field(default_factory=list)
    """What comes of the next calls behind the begin; behind them all is well."""

    is_done: bool = False
    """Whether what is not answered is done all the same."""

    def look(self, move: Move) -> Sight:
        self.fail()
        return super().look(move)

    def end(self, move: Move) -> bool:
        if self.is_done and self.errors and self.errors[0]:
            super().end(move)
        self.fail()
        return super().end(move)

    def fail(self) -> None:
        error = self.errors.pop(0) if self.has_begun or (self.ends and self.errors) else None
        if error is not None:
            raise error


AWAY, CHANGED = UnreachableError("nobody answers"), ChangedError("somebody else was first")


def test_a_control_plane_that_is_away_for_a_while_ends_no_shadow() -> None:
    polls = round(MOVE.shadow_seconds / ShadowSettings().poll_seconds)
    errors: list[Exception | None] = [None, AWAY, *[None] * (polls - 3), AWAY, CHANGED, AWAY, None, AWAY, AWAY]
    shadows = Shaky([Seen(), Seen(1), Seen(100)], errors=errors)
    book = Told(MOVE)
    reached = driver_of(shadows, book).advance("m1")
    assert (reached.phase, reached.shadow_compared, len(book.said)) == (Phase.SHADOWED, 100, polls + 6)
    assert (shadows.errors, shadows.has_begun, reached.has_shadow) == ([], False, False)


def test_an_end_that_was_done_and_not_answered_is_none_of_somebody_elses() -> None:
    shadows = Shaky([Seen(), Seen(100)], errors=[*[None] * 20, AWAY], is_done=True)
    assert driver_of(shadows, WorldBook(MOVE)).advance("m1").phase is Phase.SHADOWED


@pytest.mark.parametrize("error", [AWAY, CHANGED])
def test_it_is_tried_for_a_while_alone_to_end_it(error: Exception) -> None:
    shadows = Shaky([Seen(), Seen(100)], errors=[*[None] * 20, *[error] * 1_000])
    book = WorldBook(MOVE)
    with pytest.raises(CellplaneError, match=r"nobody answers|acme was changed by others all the while, for 30 s"):
        driver_of(shadows, book).advance("m1")
    tried = 1_000 - len(shadows.errors)
    assert tried == 1 + round(ShadowSettings().end_seconds / ShadowSettings().poll_seconds) + 1
    assert (book.move.phase, book.move.has_shadow) == (Phase.VERIFIED, True), "whoever goes on ends it"


@dataclass
class Taken(Counted):
    """Somebody takes the shadow away after so many looks at whether it is there."""

    looks: int = 0

    def is_on(self, move: Move) -> bool:
        self.looks -= 1
        self.has_begun = self.has_begun and self.looks > 0
        return self.has_begun

    def end(self, move: Move) -> bool:
        self.is_on(move)
        return super().end(move)


@pytest.mark.parametrize("looks", [1, 5, 21])
def test_one_that_somebody_took_away_shows_nothing(looks: int) -> None:
    shadows = Taken([Seen(), Seen(100)], looks=looks)
    book = Told(MOVE)
    with pytest.raises(MoveError, match=r"acme does not say any more .* somebody changed its shadow, copies, compare"):
        driver_of(shadows, book).advance("m1")
    assert book.move.phase is Phase.VERIFIED
    assert len(book.said) == min(looks - 1, 20), "nobody waits for the rest of it"


def test_that_there_is_one_is_kept_before_it_begins_and_until_it_has_ended() -> None:
    kept = []

    class Kept(Counted):
        def begin(self, move: Move, note: Note) -> int:
            epoch = super().begin(move, note)
            kept.append(book.move.has_shadow)
            return epoch

        def end(self, move: Move) -> bool:
            kept.append(book.move.has_shadow)
            return super().end(move)

    book = WorldBook(MOVE)
    driver_of(Kept([Seen(), Seen(100)]), book).advance("m1")
    assert ([*kept, book.move.has_shadow], book.move.phase) == ([True, True, False], Phase.SHADOWED)


def test_writes_that_are_let_again_need_no_second_shadow() -> None:
    book = WorldBook(replace(MOVE, shadow_compared=100))
    assert driver_of(NoShadows(), book).advance("m1").phase is Phase.FLIPPED


def test_where_nobody_can_shadow_a_move_says_so() -> None:
    with pytest.raises(MoveError, match="nobody here can let a cell shadow another one"):
        driver_of(NoShadows(), WorldBook(MOVE)).advance("m1")
