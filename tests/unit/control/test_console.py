"""The console's pages: for anybody to fetch, with nothing of others in them, and true of the API."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx2
import pytest
from fastapi.routing import APIRoute

from cellplane.console import PAGES, page
from cellplane.control.api import ROUTERS
from cellplane.moves.move import WISHES, Phase, Wish
from unit.control.serving import Api, assert_problem


@pytest.fixture
def anybody(steady_shop: Api) -> Iterator[httpx2.Client]:
    """Somebody without a token."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{steady_shop.port}", trust_env=False, timeout=30) as http:
        yield http


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_pages_are_for_anybody_and_what_they_ask_is_not(anybody: httpx2.Client) -> None:
    for name, (_, media_type) in PAGES.items():
        answer = anybody.get(f"/console/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type
        assert answer.content == page(name)[0]
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert_problem(anybody.get("/console/other"), 401, "unauthenticated")
    assert_problem(anybody.get("/v1/moves"), 401, "unauthenticated")
    wrong = anybody.get("/console/moves", headers={"host": "evil.example"})
    assert_problem(wrong, 421, "wrong-host")


def test_whoever_has_a_token_is_told_which_pages_there_are(steady_shop: Api) -> None:
    assert "/console/moves" in assert_problem(steady_shop.get("/console/other"), 404, "not-found")["detail"]


def test_a_page_loads_nothing_but_what_is_served_here_and_has_no_script_of_its_own() -> None:
    tags = Tags()
    tags.feed(page("moves")[0].decode())
    loaded = [each[name] for _, each in tags.found for name in ("src", "href") if name in each]
    assert {f"/console/{name}" for name in PAGES} == {*loaded, "/console/moves"}
    for _, attributes in tags.found:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    script = page("moves.js")[0].decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|document\.write|localStorage|https?://", script)


def test_the_script_asks_for_what_there_is_and_offers_what_can_be_met() -> None:
    script = page("moves.js")[0].decode()
    paths = {re.sub(r"\$\{[^}]*\}", "m1", found) for found in re.findall(r"[\"`](/v1/[^\"`?]*)", script)}
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert paths == {"/v1/moves", "/v1/moves/m1/wish"}
    assert all(any(route.path_regex.fullmatch(path) for route in routes) for path in paths)
    found = re.search(r"const WAY = (\[.*?\]);", script, re.DOTALL)
    assert found is not None
    way = [Phase(name) for name in json.loads(found[1])]
    offered = dict(re.findall(r"(\w+): \{ label: .*?phases: (WAY\.slice\(0, \d+\)|\[[^\]]*\])", script))
    # To give up the way back unseen is for who types it.
    assert offered.keys() == {wish.value for wish in Wish} - {Wish.RELEASE_ANYWAY.value}
    for name, said in offered.items():
        number = re.search(r"0, (\d+)", said)
        phases = way[: int(number[1])] if number else [Phase(each) for each in json.loads(said)]
        assert WISHES[Wish(name)] >= {*phases}, name
    backwards = re.search(r"const BACK = \{(.*?)\};", script)
    assert backwards is not None
    named = {Phase(each.strip(' "')) for each in re.findall(r"([\w\"-]+):", backwards[1])}
    assert {*way, *named} >= {phase for phase in Phase if not phase.is_end}
