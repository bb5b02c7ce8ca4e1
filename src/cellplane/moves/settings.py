"""Every limit and time of a move."""

from dataclasses import dataclass, replace
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class MoverSettings:
    """How the data of one tenant is moved between two databases."""

    tenant_column: str = "tenant_id"
    """Name of the column that holds the tenant's id, in each table that has one."""

    left_out: tuple[str, ...] = ("public.cellplane_outbox", "public.cellplane_outbox_refused")
    """Tables with that column that stay where they are: what waits to leave a cell leaves it from there."""

    outbox: LiteralString = "public.cellplane_outbox"
    """The table of events that wait to leave the cell; those of the tenant have left before the flip."""

    connect_seconds: int = 5
    """Longest connect to a database, in whole seconds; 5, a start after a crash is waited for by who asks again."""

    lock_seconds: float = 2.0
    """Longest wait for a table's lock, in seconds; 2: writers queue up behind whoever waits for one."""

    fence_seconds: float = 2.0
    """Longest wait for transactions under way when writes are to be refused, in seconds; 2: new ones wait behind."""

    lock_tries: int = 30
    """Tries for that lock; 30, so that a long transaction delays a move by a minute or two, and does not fail it."""

    copy_bytes_per_second: int | None = None
    """Bytes that are copied in a second; None: as fast as both databases can."""

    slot_seconds: float = 300.0
    """Longest wait for a replication slot to begin, in seconds; 300: it waits until all transactions of its server have
    ended that were under way."""

    wait_seconds: float = 30.0
    """Longest wait for what was written at one side to be at the other, in seconds, where no other bound is named, and
    nobody brings it."""

    quiet_seconds: float = 60.0
    """Longest wait for more of it to come, while somebody brings it, in seconds; 60: who reads a long transaction of
    other tenants in the log says for half a minute nothing."""

    coming_seconds: float = 3_600.0
    """Longest wait for all of it while more is coming, and nobody waits for it, in seconds; an hour: what was written
    in a cell during a long copy is read first."""

    lag_look_seconds: float = 2.0
    """Longest wait for all of it while more is coming, where only the lag is asked for, in seconds; 2, so that it is
    seen how it becomes less, and heard what people want."""

    look_seconds: float = 0.5
    """How often is looked whether more is coming, in seconds; 0.5."""

    poll_seconds: float = 0.002
    """How often that is looked for, in seconds; 0.002, since writes may be waiting for it."""

    range_rows: int = 20_000
    """Rows that are compared at once; 20,000, some ten milliseconds of one core at each side."""

    compare_tries: int = 20
    """Looks at rows that differ while they are written, before they count as different; 20."""

    compare_pause_seconds: float = 0.1
    """Between two of these looks, in seconds; 0.1, a change is at the other side in a hundredth of it."""

    max_differences: int = 1_000
    """Differing rows that are named; 1,000: beyond, the copy is made anew."""

    noted_max: int = 1_000_000
    """Notes of changed rows that are looked through for the rows that they are of, of PostgreSQL; 1,000,000, some
    seconds: so many count as as many rows, and all rows are compared anew."""

    repeated_max: int = 500
    """Notes of changed rows beyond one of each, of PostgreSQL; 500: beyond, one is kept. While writes wait, all are
    read."""

    shared_max: int = 100_000
    """Shared rows that one table of the tenant references, and are looked for before anything is copied; 100,000: some
    tens of MB. More are looked for behind the copy."""

    carry_rows: int = 500
    """Rows that are brought to a SQLite file in one transaction; 500, some milliseconds: others wait to write it."""

    carry_bytes: int = 4 * 1024 * 1024
    """Bytes from which on such a transaction takes no more rows; 4 MiB."""

    write_share: float = 0.5
    """Share of the time for which a copy may keep others from writing a SQLite file, at most; 0.5."""

    hold_batches: int = 20
    """Transactions in which changes are brought back at once while the way back is held, of SQLite; 20."""

    sequence_gap: int = 1_000_000
    """By how much AUTOINCREMENT at the other SQLite file is set beyond what was given out; 1,000,000: numbers that the
    former cell gives to others meanwhile are not given to the tenant, whose way back they would be in."""

    clean_rows: int = 5_000
    """Rows that are deleted in one transaction; 5,000, tens of milliseconds."""

    clean_pause_seconds: float = 0.02
    """Between two of them, in seconds; 0.02, so that the cell's own work comes in between."""

    sequence_margin: int = 1_000
    """By how much the other side's sequences are set beyond what was given out; 1,000, what sessions have cached."""


@dataclass(frozen=True, slots=True)
class CutoverSettings:
    """When a tenant's writes are held, and for how long."""

    pause_seconds: float = 5.0
    """Longest time in which writes are held before the flip, in seconds; 5, then they go on at the source."""

    router_seconds: float = 2.0
    """Longest wait for routers to hold writes, in seconds; 2. A silent one is not waited for: the source refuses."""

    applied_seconds: float = 10.0
    """Longest wait for routers to know the flip before the former cell's copy and guard go, in seconds; 10, then it is
    tried again. A router that is lost is not waited for."""

    lag_seconds: float = 0.2
    """How far behind the target may be when writes are held, in seconds; 0.2."""

    untested: int = 5_000
    """How many changed rows may be left to compare while writes are held; 5,000, some 50 ms."""

    catch_up_seconds: float = 600.0
    """Longest wait for the target to be that close, in seconds; 600."""

    follow_seconds: float = 3_600.0
    """Longest wait for the target to be that close behind a copy, in seconds; an hour: nobody waits for it."""

    home_seconds: float = 60.0
    """Longest wait for what the target has to be at the source, where somebody has assigned the tenant back, in
    seconds; 60, in which nobody can write it: there is nothing else to go back to."""

    close_again_seconds: float = 10.0
    """The same where it was that close a moment ago, and somebody was asked since, in seconds; 10."""

    lag_poll_seconds: float = 0.5
    """Between two looks at how close it is, in seconds; 0.5."""


@dataclass(frozen=True, slots=True)
class HoldSettings:
    """For how long the way back is held open where nobody says."""

    seconds: float = 86_400.0
    """Of the cells of a cells.yaml, in seconds; a day, in which people come to work and see what went wrong."""

    local_seconds: float = 10.0
    """Of a local fleet, in seconds; 10, as somebody sits before it and waits."""

    max_seconds: float = 30 * 86_400.0
    """Longest that may be asked for, in seconds; 30 days."""


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """How fast a move is thought to go before it begins, on two shared cores; `docs/moves.md`, "What it costs"."""

    copy_rows_per_second: float = 170_000.0
    """Rows that are copied in a second; 170,000, as `make bench-move` found of 10,000,000 rows of some 100 bytes."""

    copy_bytes_per_second: float = 40e6
    """Bytes of larger rows that are copied in a second; 40 MB, as was found of 30,000 rows of 10 kB."""

    compare_rows_per_second: float = 526_000.0
    """Rows of both ends that are compared in a second; 526,000, as `make bench-move` found of the same."""

    compare_bytes_per_second: float = 160e6
    """Bytes of larger rows that are compared in a second; 160 MB, as was found of the rows of 10 kB."""

    file_rows_per_second: float = 90_000.0
    """Rows of SQLite files that are copied, or compared, in a second; 90,000, of one core."""

    steps_seconds: float = 2.0
    """All other steps until the flip, in seconds; 2, somewhat more than a tenant with few rows takes."""

    pause_seconds: float = 0.226
    """For how long writes wait, in seconds; 0.226, the median of `make bench-move`."""

    pause_rare_seconds: float = 0.504
    """The same of one move in a hundred, in seconds; 0.504, the p99 of `make bench-move`."""

    message_seconds: float = 0.0006
    """By how much a message that waits in a queue makes that longer, in seconds; 0.6 ms, publishing and removing it."""


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """From which size on a tenant is moved only by force."""

    rows: int = 100_000_000
    """Most rows; 100,000,000, a quarter of an hour of copying and comparing."""

    bytes: int = 50_000_000_000
    """Most bytes; 50 GB, half an hour of the same, in which the source's server keeps its log."""


@dataclass(frozen=True, slots=True)
class ShadowSettings:
    """How a target shadows its source."""

    apply_seconds: float = 30.0
    """Longest wait for routers to begin, in seconds; 30: a new policy is a new base, whatever the fleet's size."""

    poll_seconds: float = 0.5
    """Between two looks at what came of it, in seconds; 0.5, as routers report once a second."""

    settle_seconds: float = 3.0
    """How long the source may take, in seconds, to answer what was asked right before a shadow's end, by a router that
    hears of that later than others; 3. Its answers come to be compared then."""

    late_seconds: float = 25.0
    """Longest wait for what was compared last to be counted, in seconds; 25: a router gives an answer 20 s to come, and
    tells of it a second later. Where it says that none is waited for, that ends sooner."""

    end_seconds: float = 30.0
    """How long it is tried to end it, in seconds; 30, a restart of the control plane."""

    max_seconds: float = 86_400.0
    """Longest shadow, in seconds; a day."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How many moves of a batch go on at once, and when no more begin."""

    at_once: int = 2
    """Moves at once; 2: each is a copy, and two slots at its databases."""

    per_cell: int = 2
    """Moves at once that one cell gives or takes; 2."""

    max_failures: int = 5
    """Failures after which no more begin; 5."""

    max_failed_share: float = 0.1
    """Share of the ended moves that may have failed; 0.1."""

    share_after: int = 10
    """Ended moves from which on that share counts; 10, as one of two is no rate."""


@dataclass(frozen=True, slots=True)
class BookSettings:
    """How moves are kept."""

    add_tries: int = 200
    """Tries to be the only one that begins a move; 200."""

    add_pause_seconds: float = 0.02
    """Between two of them, in seconds; 0.02: it takes a look at the files of all moves."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How a mover tells the control plane of its moves."""

    progress_seconds: float = 1.0
    """Between two words on how far a step is, in seconds; 1, as a mover is called silent after a few."""

    progress_timeout_seconds: float = 1.0
    """Longest wait for such a word to be taken, in seconds; 1, in which the step waits too."""

    failed_seconds: float = 5.0
    """Until the next such word after one that was not taken, in seconds; 5, so that a step loses a sixth at most."""

    phase_seconds: float = 30.0
    """How long it is tried to tell what a move has reached, in seconds; 30, a restart of the control plane."""

    retry_min_seconds: float = 0.1
    """First pause between two of these tries, in seconds; 0.1. It doubles."""

    retry_max_seconds: float = 2.0
    """Longest pause between two of them, in seconds; 2."""


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """How a move is taken on."""

    cutover_tries: int = 5
    """How often writes are held before a move gives up, as the target or routers do not keep up; 5."""

    cutover_pause_seconds: float = 2.0
    """Between two of these, in seconds; 2, in which the tenant writes."""

    retry_tries: int = 5
    """How often a step is made again for which a cell could not be reached, while the source has the tenant; 5."""

    retry_seconds: float = 86_400.0
    """How long that goes on where writes wait, the way back is held or the move cleans up, in seconds; a day: a mover
    that gives up there leaves a tenant that nobody writes, or slots that fill a disk."""

    retry_min_seconds: float = 0.2
    """First pause between two of these tries, in seconds; 0.2, as writes may wait. It doubles."""

    retry_max_seconds: float = 10.0
    """Longest pause between two of them, in seconds; 10. A new wish ends it."""

    look_min_seconds: float = 0.5
    """First pause, behind a difference that was found while the way back is held, until it is looked for again, or
    until somebody is told again who could not be, in seconds; 0.5. It doubles."""

    look_max_seconds: float = 300.0
    """Longest pause between two of these, in seconds; 300: all of the tenant's rows are compared each time."""

    hold_poll_seconds: float = 0.5
    """How often, while the way back is held open, wishes are looked at, in seconds; 0.5."""

    progress_seconds: float = 0.2
    """How often a step notes how far it is, in seconds; 0.2."""


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    """How what moves beside rows is carried."""

    catch_up_rounds: int = 5
    """Most rounds of copying right before writes are held; 5: each has less to do than the one before."""

    catch_up_seconds: float = 0.5
    """How long such a round takes where little is left, in seconds; 0.5: so does the one while writes are held."""

    threads: int = 8
    """Files or objects that are copied or compared at once; 8."""

    things_max: int = 1_000_000
    """Files or objects of one tenant; 1,000,000, some 200 MB of memory for their names."""

    page: int = 1_000
    """Objects that are listed, or deleted, by one request; 1,000, what S3 takes."""

    part_bytes: int = 8 * 1024 * 1024
    """Largest piece of a file or an object that is held in memory, in bytes; 8 MiB for each thread."""

    parts_max: int = 10_000
    """Parts of one object; 10,000, what S3 takes: parts of larger ones are larger."""

    racy_seconds: float = 2.0
    """Age below which a file's time is not trusted, in seconds; 2: it may be written again within a tick of it."""

    s3_connect_seconds: float = 2.0
    """How long a connection to object storage may take, in seconds; 2."""

    s3_read_seconds: float = 30.0
    """How long object storage may be silent, in seconds; 30."""

    s3_tries: int = 3
    """How often it is asked; 3."""

    queue_messages: int = 1_000
    """Messages of a tenant that may wait when its writes are held; 1,000, for which these wait some 0.6 s longer."""

    queue_batch: int = 200
    """Messages that are published, then removed, at once; 200: after a crash so many are published again."""

    queue_lanes: int = 16
    """Ranges of a stream that are looked through beside each other; 16."""

    queue_connect_seconds: float = 2.0
    """How long a connection to NATS may take, in seconds; 2."""

    queue_seconds: float = 5.0
    """How long NATS may take for a batch, in seconds; 5."""


@dataclass(frozen=True, slots=True)
class HookSettings:
    """How hooks are called."""

    seconds: float = 10.0
    """Longest that a hook may take, in seconds; 10."""

    held_seconds: float = 1.0
    """The same while writes wait, in seconds; 1, of one try alone."""

    tries: int = 4
    """How often an HTTP hook is called that cannot be reached, or answers with 5xx; 4."""

    pause_seconds: float = 0.5
    """Between the first two of these, in seconds; 0.5. It doubles with each that follows."""

    answer_bytes: int = 500
    """Bytes of an answer that become the reason of a refusal; 500."""

    def held(self) -> "HookSettings":
        """Those for hooks that are called while writes wait."""
        return replace(self, seconds=self.held_seconds, tries=1)
