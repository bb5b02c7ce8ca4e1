"""A question to a name server, and the times to live in its answer (RFC 1035, 4). Pure."""

import struct

A, AAAA = 1, 28
"""Types of records: IPv4 and IPv6 addresses."""

_INTERNET = 1
_RECURSION_DESIRED = 0x0100
_RESPONSE, _TRUNCATED, _RCODE = 0x8000, 0x0200, 0x000F
_POINTER = 0xC0
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")

MAX_NAME_BYTES = 255
MAX_RECORDS = 64
"""Most records that are read: what names resolve to has a few."""


class DnsMessageError(Exception):
    """An answer is none to this question, or not to be read; the message says why."""


def encode_question(number: int, name: str, kind: int) -> bytes:
    """A message that asks a recursive name server one question.

    Args:
        number: of this question, 16 bits: its answer has the same.
        name: of ASCII, as ``model.address`` has it.
        kind: A or AAAA.

    Raises:
        DnsMessageError: it is no name.
    """
    labels = name.removesuffix(".").encode("ascii", "replace").split(b".")
    if not all(0 < len(label) < 64 for label in labels):
        raise DnsMessageError(f"{name!r} is no host name")
    coded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(coded) > MAX_NAME_BYTES:
        raise DnsMessageError(f"{name!r} is too long for a host name")
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + coded + _QUESTION.pack(kind, _INTERNET)


def shortest_ttl(question: bytes, answer: bytes) -> int | None:
    """The shortest time to live of what a name resolves to, aliases included, seconds; None without such a record.

    Args:
        question: what was sent, by ``encode_question``.
        answer: what came.

    Raises:
        DnsMessageError: it is no answer to that, was cut, or is damaged.
    """
    try:
        return _shortest_ttl(question, answer)
    except (struct.error, IndexError) as error:
        raise DnsMessageError("the name server's answer is damaged") from error


def _shortest_ttl(question: bytes, answer: bytes) -> int | None:
    number, flags, questions, records, _, _ = _HEADER.unpack_from(answer)
    asked = question[_HEADER.size :]
    at = _HEADER.size + len(asked)
    echoed = answer[_HEADER.size : at].lower()
    if number != _HEADER.unpack_from(question)[0] or not flags & _RESPONSE or questions != 1:
        raise DnsMessageError("what came is no answer to the question")
    if echoed != asked.lower():
        raise DnsMessageError("what came answers another question")
    if flags & _RCODE:
        raise DnsMessageError(f"the name server refuses or does not know it (code {flags & _RCODE})")
    if flags & _TRUNCATED and not records:
        raise DnsMessageError("the answer does not fit a datagram")
    found: list[int] = []
    for _ in range(min(records, MAX_RECORDS)):
        at = _behind_name(answer, at)
        _, of_class, ttl, length = _RECORD.unpack_from(answer, at)
        at += _RECORD.size + length
        if at > len(answer):
            if flags & _TRUNCATED and found:
                break
            raise DnsMessageError("the name server's answer is cut")
        if of_class == _INTERNET:
            # Above 2^31 - 1 it is to be taken for zero (RFC 2181, 8).
            found.append(ttl if ttl < 1 << 31 else 0)
    return min(found, default=None)


def _behind_name(data: bytes, at: int) -> int:
    """Where the name ends that begins there; a pointer to another place is its end."""
    while True:
        length = data[at]
        if length & _POINTER == _POINTER:
            return at + 2
        if length & _POINTER:
            raise DnsMessageError("the name server's answer has a name that is none")
        at += 1 + length
        if length == 0:
            return at
