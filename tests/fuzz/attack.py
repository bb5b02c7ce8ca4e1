"""Sends what was made up, and judges what came of it."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cellplane.model import KeySourceKind
from fuzz.cell import ANSWERED_BY
from fuzz.corpus import Corpus
from fuzz.draft import MARKER, NO_TENANT, Draft, Shape
from fuzz.fleet import PATH_PREFIX
from fuzz.generate import class_of, draft
from fuzz.wire import ANSWER_SECONDS, CUT_SECONDS, Answer, Connection, NoAnswerError

BATCH = 8
"""Requests that are made up together; those that leave the connection open go over it in one piece."""

AFTER_SECONDS = 0.005
"""How long something more may follow an answer behind which nothing is due."""

MAX_FAILURES = 50
"""Most failures that are told in full."""

_SHOWN_BYTES = 600


@dataclass
class Tally:
    """What a client has found.

    Attributes:
        requests: how many were sent; of those that came to a cell, see ``served``.
        counts: by the trick that began a request, and what became of it.
        statuses: of answers.
        failures: what must not have been, told in full; see MAX_FAILURES.
        failed: how many there were.
    """

    requests: int = 0
    served: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0

    def join(self, other: "Tally") -> None:
        """Add another's."""
        self.requests += other.requests
        self.served += other.served
        self.counts += other.counts
        self.statuses += other.statuses
        self.failures += other.failures[: max(0, MAX_FAILURES - len(self.failures))]
        self.failed += other.failed


class Attacker:
    """One client that sends a part of the requests.

    Args:
        ports: of the routers, by variant.
    """

    def __init__(self, seed: int, corpus: Corpus, ports: Mapping[str, int]) -> None:
        self._seed = seed
        self._corpus = corpus
        self._ports = ports
        self._connections: dict[str, Connection] = {}
        self.tally = Tally()

    def run(self, numbers: Sequence[int]) -> None:
        """Send the requests of these numbers."""
        for start in range(0, len(numbers), BATCH):
            made = [draft(self._seed, number, self._corpus) for number in numbers[start : start + BATCH]]
            for variant in self._ports:
                staying = [each for each in made if each.variant.name == variant and not each.ends_connection]
                for pieces in _in_pieces(staying):
                    self._pipeline(variant, pieces)
            for each in made:
                if each.ends_connection:
                    self._alone(each)

    def close(self) -> None:
        """Close what is open."""
        for connection in self._connections.values():
            connection.close()

    def _pipeline(self, variant: str, drafts: list[Draft]) -> None:
        """Requests after each of which the connection may go on. Where it does not, the others are sent again."""
        left = drafts
        tries = 0
        while left:
            connection = self._connections.get(variant)
            if connection is None or not connection.is_open:
                connection = self._connections[variant] = Connection(self._ports[variant])
            connection.send(b"".join(each.render() for each in left))
            answered = 0
            try:
                for each in left:
                    answer = connection.read(is_head=each.method == "HEAD")
                    self._judge(each, answer)
                    answered += 1
                    if answer.is_last:
                        connection.close()
                        break
            except NoAnswerError as error:
                connection.close()
                # What was sent behind an answer that ends the connection is lost, and so may one be that met its end.
                tries = 0 if answered else tries + 1
                if tries > 1:
                    self._fail(left[0], f"no answer: {error}", None)
                    answered = 1
            left = left[answered:]

    def _alone(self, each: Draft) -> None:
        """A request on a connection of its own, behind which nothing is sent."""
        connection = Connection(self._ports[each.variant.name])
        try:
            connection.send(each.render())
            try:
                answer = connection.read(
                    is_head=each.method == "HEAD", seconds=CUT_SECONDS if each.is_cut else ANSWER_SECONDS
                )
            except NoAnswerError as error:
                if "timed out" in str(error) and not each.is_cut:
                    self._fail(each, f"no answer: {error}", None)
                else:
                    self._unanswered(each)
                return
            self._judge(each, answer)
            while not answer.is_last:
                answer = connection.read(is_head=False, seconds=AFTER_SECONDS)
                self._judge_more(each, answer)
        except NoAnswerError:
            pass
        finally:
            connection.close()

    def _unanswered(self, each: Draft) -> None:
        if each.shape is Shape.SOUND and not each.outcome().may_refuse:
            self._fail(each, "closed without an answer", None)
        else:
            self._count(each, "closed")

    def _judge(self, each: Draft, answer: Answer) -> None:
        outcome = each.outcome()
        self.tally.statuses[answer.status] += 1
        cell = answer.headers.get(ANSWERED_BY)
        if cell is None:
            reason = _not_a_refusal(answer)
            if reason is None and not outcome.may_refuse:
                reason = "refused, and is sound"
            if reason is not None:
                self._fail(each, reason, answer)
                return
            self._count(each, "refused")
            return
        document = answer.document()
        if each.method != "HEAD":
            marker = document.get(MARKER, "")
            tenant = document.get("x-tenant-id") or NO_TENANT
            wrong = document.get("wrong")
            if wrong is None and marker.split(".", 1)[0] != str(each.number):
                wrong = f"the answer is of request {marker}"
            if wrong is None and marker == each.marker().decode("latin-1") and tenant not in outcome.tenants:
                wrong = f"it was answered for {tenant}"
            if wrong is None:
                wrong = _wrong_path(each, tenant, document.get("path", ""))
            if wrong is not None:
                self._fail(each, wrong, answer)
                return
        self.tally.served += 1
        self._count(each, "served")

    def _judge_more(self, each: Draft, answer: Answer) -> None:
        """An answer behind the first: of a request that stood behind it, or inside."""
        self.tally.statuses[answer.status] += 1
        cell = answer.headers.get(ANSWERED_BY)
        wrong = _not_a_refusal(answer) if cell is None else answer.document().get("wrong")
        if wrong is not None:
            self._fail(each, f"behind its answer: {wrong}", answer)
        self._count(each, "one more answer")

    def _count(self, each: Draft, what: str) -> None:
        if what != "one more answer":
            self.tally.requests += 1
        self.tally.counts[f"{class_of(each)}: {what}"] += 1

    def _fail(self, each: Draft, reason: str, answer: Answer | None) -> None:
        self._count(each, "FAILED")
        self.tally.failed += 1
        if len(self.tally.failures) < MAX_FAILURES:
            self.tally.failures.append(told(self._seed, each, reason, answer))


def _in_pieces(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """What is sent in one piece: nothing behind a request that may be refused, since Envoy now and then ends a
    connection behind a refusal, a second later and without a word, when more stands there already.
    """
    piece: list[Draft] = []
    for each in drafts:
        piece.append(each)
        if each.outcome().may_refuse:
            yield piece
            piece = []
    if piece:
        yield piece


def told(seed: int, each: Draft, reason: str, answer: Answer | None) -> dict[str, Any]:
    """A request and what came of it, for people."""
    outcome = each.outcome()
    return {
        "seed": seed,
        "number": each.number,
        "reason": reason,
        "router": each.variant.name,
        "tricks": each.tricks,
        "may_be_answered_for": outcome.tenants,
        "may_be_refused": outcome.may_refuse,
        "request": repr(each.render()[:_SHOWN_BYTES]),
        "answer": None if answer is None else [answer.status, dict(answer.headers), repr(answer.body[:_SHOWN_BYTES])],
        "at": time.strftime("%H:%M:%S"),
    }


def _not_a_refusal(answer: Answer) -> str | None:
    """Why an answer that no cell gave is none that a router may give; None where it is."""
    if answer.status >= 500:
        return f"the router answered {answer.status}"
    if not 400 <= answer.status < 500:
        return f"nobody's answer of status {answer.status}"
    if "content-length" in answer.headers and answer.body:
        document = answer.document()
        if answer.headers.get("content-type") != "application/problem+json" or not document.get("code"):
            return f"a refusal of {answer.status} that is no problem document"
    return None


def _wrong_path(each: Draft, tenant: str, path: str) -> str | None:
    """Where the path alone says whose a request is, the cell must read the same in it."""
    if set(each.says) != {KeySourceKind.PATH} or tenant == NO_TENANT:
        return None
    if path.startswith(f"{PATH_PREFIX}{tenant}") and path[len(PATH_PREFIX) + len(tenant) :][:1] in {"", "/", "?", "#"}:
        return None
    return f"the tenant is {tenant}, and the cell reads {path[:100]!r}"
