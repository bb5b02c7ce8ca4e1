"""GET /v1/table: how routers get the published table, and wait for the next."""

import hashlib
import threading
import time

import httpx2
import pytest

from cellplane.model import Tenant
from cellplane.routing import RoutingTable
from support import plain_http
from unit.control.serving import SHOP, Api, as_holder, assert_problem


def test_before_there_is_a_fleet_there_is_no_table(api: Api) -> None:
    response = api.get("/v1/table")
    assert_problem(response, 503, "no-table")
    assert response.headers["retry-after"] == "1"
    began = time.monotonic()
    assert_problem(api.get("/v1/table", wait=0.2), 503, "no-table")
    assert time.monotonic() - began >= 0.2


def test_before_there_is_a_table_a_route_is_503(api: Api) -> None:
    assert_problem(api.get("/v1/route", tenant="acme"), 503, "no-table")


def test_a_fleet_without_cells_or_pools_is_not_published(api: Api) -> None:
    api.put_epoch("/v1/fleet", SHOP)
    api.put_epoch("/v1/cells/cell-1", {"address": "127.0.0.1", "port": 1})
    assert_problem(api.get("/v1/table", wait=0.2), 503, "no-table")
    api.published(api.put_epoch("/v1/pools/default", {"cells": ["cell-1"]}))


def test_the_table_is_the_directorys_state(shop: Api) -> None:
    table = shop.published(shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"}))
    assert table.fleet == "shop"
    assert table.epoch == shop.service.directory.epoch() == 5
    with shop.service.directory.snapshot() as snapshot:
        assert [cell.id for cell in table.cells] == list(snapshot.outline.cells)
        assert snapshot.tenant("acme").tenant == Tenant("acme", ("cell-2",))
    entry = table.find(b"acme")
    assert entry is not None
    assert [table.cells[cell].id for cell in entry.shard] == ["cell-2"]


def test_the_tag_is_the_checksum_and_spares_the_bytes(shop: Api) -> None:
    first = shop.get("/v1/table")
    assert first.headers["content-type"] == "application/octet-stream"
    assert first.headers["etag"] == f'"{RoutingTable.of_publication(first.content).tag}"'
    assert first.headers["x-cellplane-epoch"] == "4"
    assert first.headers["cache-control"] == "no-cache"
    again = shop.http.get("/v1/table", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    other = shop.http.get("/v1/table", headers={"if-none-match": f'"{hashlib.sha256().hexdigest()}"'})
    assert other.content == first.content


@pytest.mark.parametrize("form", ["W/{tag}", '"other", {tag}', "*"])
def test_if_none_match_has_its_other_forms(steady_shop: Api, form: str) -> None:
    tag = steady_shop.get("/v1/table").headers["etag"]
    response = steady_shop.http.get("/v1/table", headers={"if-none-match": form.format(tag=tag)})
    assert response.status_code == 304


def test_waiting_ends_with_the_change(shop: Api) -> None:
    tag = shop.get("/v1/table").headers["etag"]
    answers: list[httpx2.Response] = []

    def wait() -> None:
        url = f"http://127.0.0.1:{shop.port}/v1/table?wait=30"
        answers.append(plain_http.get(url, headers={**as_holder(shop.token), "if-none-match": tag}, timeout=20))

    waiters = [threading.Thread(target=wait) for _ in range(4)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.1)
    assert not answers
    epoch = shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
    for waiter in waiters:
        waiter.join()
    assert [int(response.headers["x-cellplane-epoch"]) for response in answers] == [epoch] * 4


def test_waiting_ends_with_304_when_nothing_changed(shop: Api) -> None:
    tag = shop.get("/v1/table").headers["etag"]
    began = time.monotonic()
    response = shop.http.get("/v1/table", params={"wait": 0.2}, headers={"if-none-match": tag})
    assert time.monotonic() - began >= 0.2
    assert response.status_code == 304


def test_waiting_with_an_old_tag_or_none_does_not_wait(steady_shop: Api) -> None:
    for tag in ({}, {"if-none-match": '"old"'}):
        answer = steady_shop.http.get("/v1/table?wait=30", headers=tag, timeout=20)
        assert answer.status_code == 200


@pytest.mark.parametrize("wait", ["-1", "nan", "x", ""])
def test_a_wait_that_is_no_time_is_refused(steady_shop: Api, wait: str) -> None:
    assert_problem(steady_shop.get("/v1/table", wait=wait), 422, "invalid-request", field="query.wait")


def test_a_first_waiter_gets_the_first_table(api: Api) -> None:
    answers: list[httpx2.Response] = []

    def wait() -> None:
        url = f"http://127.0.0.1:{api.port}/v1/table?wait=8"
        answers.append(plain_http.get(url, headers=as_holder(api.token), timeout=20))

    waiter = threading.Thread(target=wait)
    waiter.start()
    api.fill()
    waiter.join(60)
    assert [response.status_code for response in answers] == [200]
