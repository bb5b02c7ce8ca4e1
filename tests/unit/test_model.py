"""What the model refuses, and that it says where."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology, is_key

GOOD = Topology(
    fleet=Fleet("shop"),
    cells=(Cell("cell-1", "127.0.0.1", 8001), Cell("cell-2", "cell-2.internal", 8002)),
    pools=(Pool("default", ("cell-1", "cell-2")),),
    tenants=(Tenant("acme"), Tenant("Globex", "cell-2")),
)


def test_a_sound_topology_passes() -> None:
    GOOD.validate()


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (replace(GOOD, fleet=Fleet("Shop")), "fleet.name"),
        (replace(GOOD, fleet=Fleet("shop", key_header="X-Tenant")), "fleet.key_header"),
        (replace(GOOD, fleet=Fleet("shop", key_header="x-cell-id")), "fleet.key_header"),
        (replace(GOOD, fleet=Fleet("shop", default_pool="gold")), "fleet.default_pool"),
        (replace(GOOD, fleet=Fleet("shop", retry_after_seconds=-1)), "fleet.retry_after_seconds"),
        (replace(GOOD, cells=()), "cells"),
        (replace(GOOD, cells=(*GOOD.cells, GOOD.cells[0])), "cells[2].id"),
        (replace(GOOD, cells=(Cell("cell_1", "127.0.0.1", 1),)), "cells[0].id"),
        (replace(GOOD, cells=(Cell("c", "127.0.0.1 ", 1),)), "cells[0].address"),
        (replace(GOOD, cells=(Cell("c", "", 1),)), "cells[0].address"),
        (replace(GOOD, cells=(Cell("c", "h", 0),)), "cells[0].port"),
        (replace(GOOD, cells=(Cell("c", "h", 65536),)), "cells[0].port"),
        (replace(GOOD, cells=(Cell("c", "h", 1, weight=0),)), "cells[0].weight"),
        (replace(GOOD, cells=(Cell("c", "h", 1, weight=float("nan")),)), "cells[0].weight"),
        (replace(GOOD, cells=(Cell("c", "h", 1, jurisdiction="EU"),)), "cells[0].jurisdiction"),
        (replace(GOOD, pools=()), "pools"),
        (replace(GOOD, pools=(Pool("default", ()),)), "pools[0].cells"),
        (replace(GOOD, pools=(Pool("default", ("cell-1", "cell-1")),)), "pools[0].cells"),
        (replace(GOOD, pools=(Pool("default", ("cell-9",)),)), "pools[0].cells[0]"),
        (replace(GOOD, pools=(Pool("default", ("cell-1",), virtual_nodes=0),)), "pools[0].virtual_nodes"),
        (replace(GOOD, tenants=(Tenant("a"), Tenant("a"))), "tenants[1].id"),
        (replace(GOOD, tenants=(Tenant("a/b"),)), "tenants[0].id"),
        (replace(GOOD, tenants=(Tenant("a", "cell-9"),)), "tenants[0].cell"),
    ],
)
def test_a_broken_topology_is_refused_with_the_path_of_the_field(broken: Topology, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        broken.validate()
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize("key", [b"a", b"tenant-001", b"A.b_c:d@e|f+g=h~i-j", b"0" * 128])
def test_keys(key: bytes) -> None:
    assert is_key(key)


@pytest.mark.parametrize(
    "key", [b"", b"-a", b".a", b"a b", b"a/b", b"a%41", b"a\n", b"a\x00", b"\xc3\xbc", b"a,b", b'a"', b"0" * 129]
)
def test_what_is_no_key(key: bytes) -> None:
    assert not is_key(key)
