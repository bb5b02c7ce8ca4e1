"""A process that makes the steps of a move one after the other, says which are made, and is killed by a test."""

import sys

from cellplane.moves.mover import DataMover
from cellplane.moves.settings import MoverSettings
from cellplane.moves.stores import mover_between

STAGES = ("prepare", "copy", "follow", "compare", "carry")
"""On the way there."""

BACK = "carry back"
"""Behind the flip."""

AGAIN = {STAGES[-1], BACK}
"""Those that are made again and again."""


def make(move: DataMover, stage: str) -> None:
    match stage:
        case "prepare":
            move.prepare()
        case "copy":
            move.copy(lambda _rows, _bytes: None)
        case "follow":
            move.follow()
        case "compare":
            verdict = move.compare(lambda _: None)
            assert verdict.is_same, verdict.differences
        case "carry":
            move.lag()
            move.compare(lambda _: None)
        case _:
            move.reconnect()
            verdict = move.compare_back(lambda _: None)
            assert verdict.is_same, verdict.differences


def main(source_url: str, target_url: str, *stages: str) -> None:
    move = mover_between("acme", "m1", source_url, target_url, MoverSettings(range_rows=500, carry_rows=50))
    print("begun", flush=True)
    for stage in stages:
        while True:
            make(move, stage)
            print(stage, flush=True)
            if stage not in AGAIN:
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
