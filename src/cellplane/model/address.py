"""Where a cell is reached: an IP address or a host name, as a proxy can be told it."""

import ipaddress

MAX_ADDRESS_CHARS = 253
"""Longest address: that of a DNS name (RFC 1035)."""

MAX_LABEL_CHARS = 63
"""Longest part of a host name between two dots."""


def is_address(text: str) -> bool:
    """Whether this text is an IP address or a host name: labels of ASCII letters, digits, underscores and inner
    hyphens, of which the last is no number (RFC 1123, 2.1: that would be an IP address, and is none).
    """
    if not 1 <= len(text) <= MAX_ADDRESS_CHARS or not text.isascii():
        return False
    if is_ip(text):
        return True
    labels = text.removesuffix(".").split(".")
    return all(map(_is_label, labels)) and not labels[-1].isdigit()


def is_ip(text: str) -> bool:
    """Whether this text is an IP address that means the same on every machine."""
    try:
        # A zone behind % is of one machine alone.
        return "%" not in text and bool(ipaddress.ip_address(text).version)
    except ValueError:
        return False


def host_of_url(address: str) -> str:
    """What a URL says of this address: an IPv6 address is in brackets (RFC 3986, 3.2.2)."""
    return f"[{address}]" if ":" in address else address


def _is_label(label: str) -> bool:
    is_inner = all(char.isalnum() or char in "-_" for char in label)
    return 1 <= len(label) <= MAX_LABEL_CHARS and is_inner and not label.startswith("-") and not label.endswith("-")
