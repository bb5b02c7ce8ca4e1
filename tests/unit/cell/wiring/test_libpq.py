"""Connection strings are read as libpq and SQLAlchemy read them, or refused."""

from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cellplane.cell.wiring import libpq
from cellplane.cell.wiring.endpoints import DEFAULT_SOCKETS, Endpoint, UnknownDestinationError
from cellplane.cell.wiring.strings import of_string
from support.depth import examples


def places(text: str, **environ: str) -> list[str]:
    return [f"{found.host}|{found.port}|{found.database}" for found in of_string(text, environ)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("postgresql://u:p@db-1/orders", ["db-1|5432|orders"]),
        ("postgres://db-1:6432/orders", ["db-1|6432|orders"]),
        ("postgresql+psycopg://u:p%40ss@db-1/orders", ["db-1|5432|orders"]),
        ("postgresql://u@db-1:1,db-2:2/orders", ["db-1|1|orders", "db-2|2|orders"]),
        ("postgresql://u@db-1,db-2:2/orders", ["db-1|5432|orders", "db-2|2|orders"]),
        ("postgresql://[::1]:5433/orders", ["::1|5433|orders"]),
        ("postgresql://u@db-1/orders?host=db-2", ["db-2|5432|orders"]),
        ("postgresql://u@db-1/orders?dbname=other&port=7", ["db-1|7|other"]),
        ("postgresql+psycopg://u@/orders?host=a:1&host=b:2", ["a|1|orders", "b|2|orders"]),
        ("postgresql:///orders?host=/run/pg", ["/run/pg|5432|orders"]),
        ("postgresql://%2Frun%2Fpg:6/orders", ["/run/pg|6|orders"]),
        ("postgresql://db-1/my%20orders", ["db-1|5432|my orders"]),
        ("host=db-1 dbname=orders", ["db-1|5432|orders"]),
        ("host = 'db-1' port=6 dbname = 'my \\'orders\\\\' password='x y'", ["db-1|6|my 'orders\\"]),
        ("host=db-1,db-2 port=1,2 dbname=o", ["db-1|1|o", "db-2|2|o"]),
        ("host=db-1 hostaddr=10.0.0.9 dbname=o", ["10.0.0.9|5432|o"]),
        ("host=db-1 user=u", ["db-1|5432|u"]),
        ("dbname=o", [f"{folder}|5432|o" for folder in DEFAULT_SOCKETS]),
        ("host='' dbname=o", [f"{folder}|5432|o" for folder in DEFAULT_SOCKETS]),
        ("host=@cell dbname=o", ["@cell|5432|o"]),
    ],
)
def test_strings_lead_where_libpq_would_go(text: str, found: list[str]) -> None:
    assert places(text) == found


def test_the_environment_stands_in_for_what_is_left_out() -> None:
    environ = {"PGHOST": "db-9", "PGPORT": "7", "PGDATABASE": "env", "PGUSER": "who"}
    assert places("user=u", **environ) == ["db-9|7|env"]
    assert places("host=db-1 port=5432 dbname=o", **environ) == ["db-1|5432|o"]
    assert places("postgresql://db-1/o", PGHOSTADDR="10.0.0.9") == ["10.0.0.9|5432|o"]
    with pytest.raises(UnknownDestinationError, match="service"):
        places("postgresql://db-1/o", PGSERVICE="other")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("service=orders", "names a service"),
        ("postgresql://db-1/o?service=x", "names a service"),
        ("postgresql://db-1", "names no database"),
        ("host=a,b port=1,2,3 dbname=o", "2 hosts and 3 ports"),
        ("host=a,b hostaddr=10.0.0.1 dbname=o", "2 hosts and 1 addresses"),
        ("host=a port=99999 dbname=o", "port"),
        ("postgresql://a:b/o", "port"),
        ("postgresql://u:hunter@2@db-1/o", "%40"),
        ("postgresql://u:hunter/2@db-1/o", "%2F"),
        ("postgresql://u:hunter?2@db-1/o", "%3F"),
        ("postgresql://u:hunter#2@db-1/o", "%23"),
        ("postgresql://db-1/o/p", "%2F"),
        ("postgresql://db-1/o?host=a:1", "different ways"),
        ("postgresql://db-1/o?port=1&port=2", "twice"),
        ("postgresql://db-1/o?x", "name=value"),
        ("postgresql://db-1/%ff", "UTF-8"),
        ("postgresql://db-1/a%00b", "%00"),
        ("postgresql://[::1/o", "closing bracket"),
        ("host='a", "quotation"),
        ("host a=b", "key=value"),
        ("nonsense", "neither"),
        ("mysql://db-1/o", "scheme mysql"),
    ],
)
def test_what_does_not_tell_is_refused_without_a_word_of_it(text: str, reason: str) -> None:
    with pytest.raises(UnknownDestinationError, match=reason) as raised:
        of_string(text, {})
    assert "hunter" not in str(raised.value)


WORD = st.text("ab-.1", min_size=1, max_size=4)
SECRET = st.text("ab:/@?#% '\\=&,", max_size=6)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Mostly URLs that libpq takes, some that only nearly are."""
    credentials = draw(st.sampled_from(["", "u@", "u:p@", "u:p%40%2F@", "u:p/@", "u:p@p@", ":p@"]))
    host = st.sampled_from(["db-1", "db-2", "[::1]", "10.0.0.1", "", "%2Frun%2Fpg"])
    port = st.sampled_from(["", ":5432", ":6", ":"])
    hosts = draw(st.lists(st.builds("{}{}".format, host, port), min_size=0, max_size=3))
    path = draw(st.sampled_from(["", "/", "/orders", "/a%20b", "/a/b"]))
    query = draw(
        st.lists(
            st.sampled_from(
                ["host=db-3", "host=/run/pg", "port=7", "dbname=other", "hostaddr=10.0.0.2", "user=x", "sslmode=prefer"]
            ),
            max_size=3,
        )
    )
    return f"postgresql://{credentials}{','.join(hosts)}{path}" + (f"?{'&'.join(query)}" if query else "")


@settings(max_examples=examples(133), deadline=None)
@given(text=urls())
@example(text="postgresql://u:p@db-1:5432,db-2/orders?host=db-3")
def test_a_url_that_is_taken_means_what_libpq_means(text: str) -> None:
    """libpq itself is asked, through psycopg."""
    try:
        ours = libpq.parse_url(text, of_sqlalchemy=False)
    except UnknownDestinationError:
        return
    theirs: dict[str, Any] = conninfo_to_dict(text)
    assert led(ours) == led(theirs), text


def led(parameters: dict[str, Any]) -> set[Endpoint] | str:
    try:
        return set(libpq.of_parameters(parameters, {"PGPORT": "9"}))
    except UnknownDestinationError as error:
        return str(error)


@settings(max_examples=examples(133), deadline=None)
@given(text=urls())
def test_a_url_that_is_taken_means_what_sqlalchemy_means(text: str) -> None:
    text = text.replace("postgresql://", "postgresql+psycopg://")
    try:
        ours = of_string(text, {"PGPORT": "9"})
    except UnknownDestinationError:
        return
    try:
        url = make_url(text)
        arguments, named = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, ValueError):
        assume(False)
        return
    if arguments and not any(arguments):
        arguments = []
    theirs = led({**named, **(libpq.parse_pairs(arguments[0]) if arguments else {})})
    assert set(ours) == theirs, text


@settings(max_examples=examples(100), deadline=None)
@given(
    parameters=st.fixed_dictionaries(
        {"host": WORD, "dbname": SECRET.filter(bool)}, optional={"password": SECRET, "port": st.integers(1, 65535)}
    )
)
def test_pairs_are_read_as_they_were_written(parameters: dict[str, Any]) -> None:
    text = make_conninfo(**parameters)
    found = libpq.parse_pairs(text)
    assert found == {name: str(value) for name, value in parameters.items() if name != "password"}


def test_what_is_shown_has_no_credentials() -> None:
    [found] = of_string("postgresql://admin:hunter2@[::1]:5433/orders", {})
    assert str(found) == "postgresql://…@[::1]:5433/orders"
    assert str(Endpoint("nats", "a", 4222, "")) == "nats://a:4222"
    assert str(of_string("host=/run/pg dbname=o", {})[0]) == "postgresql://…@%2Frun%2Fpg:5432/o"
