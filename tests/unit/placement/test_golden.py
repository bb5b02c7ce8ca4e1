"""The bytes of each strategy's result for one fleet: a change of any is a change of where tenants are."""

import hashlib

import pytest

from unit.placement.fleets import STRATEGIES, fleet

FLEET = fleet(12, weights=(1.0, 0.5, 2.5, 1.0))

GOLDEN = {
    "modulo": "41b568c8449aa0034e930898ff7d56157c1ac8178dab67cc2dbde67d24ac1f8a",
    "modulo of 4": "14f129e34b2da8fb446a5c3878846b1af196f55c42fa4b25c7337cef3995372e",
    "ring": "e98f52ddd617fc69cadba2db5e98d3ccbd386c89d68fce3943ce2c92d1083d8d",
    "ring of 4": "5baca49c266ab1425c660527514c66f4c15158cb6438a33d98518a96e8ac08f4",
    "rendezvous": "c9c6720c0faa78e5a30df86532fb53a1bb4093373c1aa1b18d0e10f1e253f8e9",
    "rendezvous of 4": "95e5bbf5d6d3a55d3fbed044c7b20391ac4dc0cb913a728584fa69741cf8b911",
    "shuffle of 2": "87065de5c24eee61e06cf40ede762723c3411e24b080545b4c4ae8f3f4c794f9",
    "shuffle of 4": "6ce9794cc1b4e41f1eeeb59f26dc969971dc38309f960f3bff19c062257e7fd7",
    "zones of 4": "ae19acef5ff891544ba6f4aa0e862741e246961708751b6cbd867e3358731e69",
    "lattice of 2": "478842e5fa1391c113177e57a243c934c17cf4642be513f4d608662179d71c46",
}


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_gives_the_bytes_that_it_always_gave(name: str) -> None:
    shards = STRATEGIES[name](FLEET)
    assert hashlib.sha256(shards.astype("<u4").tobytes()).hexdigest() == GOLDEN[name]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_order_of_members_means_nothing(name: str) -> None:
    assert STRATEGIES[name](FLEET).tobytes() == STRATEGIES[name](FLEET[::-1]).tobytes()
