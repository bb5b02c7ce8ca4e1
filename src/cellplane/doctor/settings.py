"""Every threshold, limit and time-out of `cellplane doctor`."""

from dataclasses import dataclass

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorSettings:
    """Settings of one examination."""

    deadline_seconds: float = 30.0
    """How long each of its two rounds of questions may take, seconds; what has not answered by then is skipped."""

    workers: int = 16
    """Questions that are under way at once."""

    probe_seconds: float = 2.0
    """How long a cell, a router's agent, a TLS handshake or a name server may take for each step, seconds."""

    max_answer_bytes: int = 4 * 1024 * 1024
    """Most that is read of an agent's metrics, bytes."""

    max_file_bytes: int = 1024 * 1024
    """Largest file of keys or certificates that is read, bytes."""

    health_path: str = "/healthz"
    """What cells are asked for, as routers do."""

    max_findings: int = 10
    """Most findings of one check that are told one by one."""

    max_tenants: int = 50_000
    """Most tenants that rules about the fleet are checked against; of a larger one its cells, pools and rules alone."""

    clock_warning_seconds: float = 5.0
    """Difference between clocks from which on it is a warning, seconds, beyond what the look itself may be wrong by."""

    clock_error_seconds: float = 60.0
    """From which on it is an error, seconds: issuers' tokens are taken with clocks that differ by as much."""

    lag_error_seconds: float = 10.0
    """How long a router may not run what is published before that is an error, seconds: changes are live in one."""

    silent_warning_seconds: float = 5.0
    """Silence of a router from which on it is a warning, seconds: several of its report intervals."""

    silent_error_seconds: float = 60.0
    """From which on it is an error, seconds."""

    cell_report_seconds: float = 120.0
    """Age at which what a cell said of how full it is counts for nothing, seconds: as the control plane has it."""

    mover_silent_seconds: float = 60.0
    """Silence of a mover from which on it is told, seconds: it speaks each second."""

    flapping_seconds: float = 3600.0
    """Time within which changes of who leads are counted, seconds."""

    flapping_leaders: int = 4
    """How many different leaders, or starts of one, within that time are a warning."""

    key_warning_days: float = 30.0
    """Rest of a signing key's life from which on it is a warning, days."""

    token_warning_days: float = 14.0
    """That of a token, days."""

    certificate_warning_days: float = 21.0
    """That of a certificate, days."""

    short_life_share: float = 0.2
    """Of a token or certificate that was made for a short time, the share of it below which its rest is a warning."""

    backup_warning_days: float = 2.0
    """Age of the newest backup from which on it is a warning, days."""

    disk_warning_bytes: int = 1024 * 1024 * 1024
    """Free space of a state folder's file system below which it is a warning, bytes."""

    disk_error_bytes: int = 100 * 1024 * 1024
    """Below which it is an error, bytes: a table of a million tenants takes 30 MiB, and three are kept."""

    sync_warning_seconds: float = 1.0
    """How long a small file may take to be on the disk, seconds: each change waits for as much."""

    slot_warning_bytes: int = 1024 * 1024 * 1024
    """Log that a cell's database keeps for one replication slot from which on it is a warning, bytes."""

    slot_error_bytes: int = 8 * 1024 * 1024 * 1024
    """From which on it is an error, bytes: it grows until the disk is full."""

    dns_warning_seconds: int = 60
    """Time to live of a cell's name above which it is a warning, seconds: as long routers go to a former address."""
