"""Times to live, by a question to a name server: a real one on this machine, and whatever a broken one may send."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.doctor.gather.dns_message import AAAA, A, DnsMessageError, encode_question, shortest_ttl
from cellplane.doctor.gather.names import ask, look_up, name_servers
from cellplane.doctor.settings import DoctorSettings

SETTINGS = DoctorSettings(probe_seconds=30.0)
QUICK = DoctorSettings(probe_seconds=0.1)


def record(ttl: int, *, kind: int = A, name: bytes = b"\xc0\x0c", data: bytes = b"\x7f\0\0\1") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def answer_of(question: bytes, *records: bytes, flags: int = 0x8180, count: int | None = None) -> bytes:
    header = question[:2] + struct.pack("!HHHHH", flags, 1, len(records) if count is None else count, 0, 0)
    return header + question[12:] + b"".join(records)


ALIAS = b"\3two\7example\3com\0"


def test_a_question_is_as_the_standard_has_it() -> None:
    expected = "abcd 0100 0001 0000 0000 0000 03 74776f 07 6578616d706c65 03 636f6d 00 001c 0001"
    assert encode_question(0xABCD, "two.example.com.", AAAA) == bytes.fromhex(expected)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["abcdefg"] * 40)])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(DnsMessageError):
        encode_question(1, name, A)


def test_the_shortest_time_of_aliases_and_addresses_counts() -> None:
    question = encode_question(7, "two.example.com", A)
    alias = record(30, kind=5, data=ALIAS)
    assert shortest_ttl(question, answer_of(question, alias, record(300, name=ALIAS))) == 30
    assert shortest_ttl(question, answer_of(question, record(300), record(20))) == 20
    assert shortest_ttl(question, answer_of(question, record(1 << 31))) == 0
    assert shortest_ttl(question, answer_of(question)) is None


def test_names_are_the_same_in_any_case() -> None:
    question = encode_question(7, "Two.example.COM", A)
    other = encode_question(7, "two.EXAMPLE.com", A)
    assert shortest_ttl(question, answer_of(other, record(5))) == 5


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda q: answer_of(encode_question(8, "two.example.com", A), record(5)), "no answer to the question"),
        (lambda q: answer_of(encode_question(7, "six.example.com", A), record(5)), "another question"),
        (lambda q: answer_of(q, record(5), flags=0x0100), "no answer"),
        (lambda q: answer_of(q, flags=0x8183), "code 3"),
        (lambda q: answer_of(q, flags=0x8380), "does not fit"),
        (lambda q: answer_of(q, record(5))[:-2], "cut"),
        (lambda q: answer_of(q, record(5), count=2), "damaged"),
        (lambda q: answer_of(q, record(5, name=b"\x80")), "a name that is none"),
        (lambda q: q[:5], "damaged"),
        (lambda q: b"", "damaged"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(spoil: Callable[[bytes], bytes], says: str) -> None:
    question = encode_question(7, "two.example.com", A)
    with pytest.raises(DnsMessageError, match=says):
        shortest_ttl(question, spoil(question))


@given(st.binary(max_size=600))
def test_no_bytes_do_anything_else(tail: bytes) -> None:
    question = encode_question(7, "two.example.com", A)
    for data in (tail, answer_of(question, tail, count=60000), question[:2] + tail):
        try:
            found = shortest_ttl(question, data)
        except DnsMessageError:
            continue
        assert found is None or 0 <= found < 1 << 31


@contextmanager
def name_server(answer: Callable[[bytes], list[bytes]]) -> Iterator[tuple[str, int]]:
    """Answers each question with these datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as serving:
        serving.bind(("127.0.0.1", 0))

        def run() -> None:
            while True:
                question, client = serving.recvfrom(600)
                if question == b"stop":
                    return
                for each in answer(question):
                    serving.sendto(each, client)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield serving.getsockname()
        finally:
            serving.sendto(b"stop", serving.getsockname())
            thread.join()


def test_a_name_server_is_asked_and_others_answers_are_passed_over() -> None:
    with name_server(lambda q: [b"\0\0nonsense", answer_of(q, record(42))]) as server:
        assert ask("two.example.com", A, [server], 30.0) == 42


def test_one_that_is_silent_is_followed_by_the_next() -> None:
    with name_server(lambda q: []) as silent, name_server(lambda q: [answer_of(q, record(9))]) as server:
        assert ask("two.example.com", A, [silent, server], 1.0) == 9


def test_where_none_answers_that_is_said() -> None:
    with name_server(lambda q: []) as silent, pytest.raises(OSError, match=r"127\.0\.0\.1 does not answer"):
        ask("two.example.com", A, [silent], 0.1)
    with pytest.raises(OSError, match="names no name server"):
        ask("two.example.com", A, [], 0.1)


def test_a_name_of_this_machine_resolves_without_a_name_server() -> None:
    with name_server(lambda q: [answer_of(q, flags=0x8183)]) as server:
        found = look_up("localhost", ("cell-1",), SETTINGS, [server])
    assert found.failure == ""
    assert found.addresses
    assert found.ttl_seconds is None
    assert "code 3" in found.without_ttl


def test_a_name_that_a_name_server_knows_has_its_time() -> None:
    with name_server(lambda q: [answer_of(q, record(77))]) as server:
        assert look_up("localhost", ("cell-1",), SETTINGS, [server]).ttl_seconds == 77


def test_a_name_that_nobody_knows_is_said_not_to_resolve() -> None:
    found = look_up("nowhere.invalid", ("cell-1",), QUICK, [])
    assert found.failure
    assert found.addresses == ()


def test_name_servers_are_read_as_the_resolver_does() -> None:
    text = "# nameserver 9.9.9.9\nsearch example.com\nnameserver 10.0.0.1\n  nameserver fe80::1%eth0\nnameserver x\n"
    assert name_servers(text) == ["10.0.0.1", "fe80::1%eth0"]
    assert name_servers("nameserver 1.1.1.1\n" * 9) == ["1.1.1.1"] * 3
