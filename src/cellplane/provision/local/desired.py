"""What somebody outside the supervisor wants a part to be: a file a part, so that no message can be lost."""

from dataclasses import dataclass

from cellplane.provision.local.folder import StateFolder, read_json, write_json


@dataclass(frozen=True, slots=True)
class Desired:
    """A wish; ``at_ns`` tells two equal wishes apart, so that a restore can be asked for again."""

    up: bool = True
    at_ns: int = 0


def read_desired(folder: StateFolder, part: str) -> Desired:
    """The last wish for this part."""
    value = read_json(folder.desired(part))
    return Desired() if value is None else Desired(bool(value["up"]), int(value["at_ns"]))


def write_desired(folder: StateFolder, part: str, desired: Desired) -> None:
    """Wish."""
    write_json(folder.desired(part), {"up": desired.up, "at_ns": desired.at_ns})


def clear_desired(folder: StateFolder) -> None:
    """Forget all wishes."""
    for path in folder.desired("*").parent.glob("*.json"):
        path.unlink()
