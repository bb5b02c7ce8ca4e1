"""What may be the address of a cell."""

import pytest

from cellplane.model.address import is_address


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "::1",
        "2001:db8::1",
        "localhost",
        "cell-1.example.com",
        "cell_1",
        "a.b.",
        "x" * 63 + ".y",
        "1a",
        "1.b",
    ],
)
def test_an_ip_address_or_a_host_name_is_one(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "a/b",
        "a:80",
        "[::1]",
        ":::",
        "fe80::1%eth0",
        "256.1.1.1",
        "1.2.3",
        "ü.example",
        "x" * 64,
        "h." * 127,
    ],
)
def test_what_no_proxy_could_be_told_is_none(text: str) -> None:
    assert not is_address(text)
