"""PostgreSQL refuses to run as root. Here it does not have to."""

import os
import shutil
import subprocess
from functools import lru_cache

from cellplane.errors import ProvisionError

_NOBODY = 65534
# Not PATH: that may name nothing but a virtual environment.
_SYSTEM_PATH = os.pathsep.join(("/usr/bin", "/bin", "/usr/sbin", "/sbin"))
_PROBE_TIMEOUT_SECONDS = 10


@lru_cache(maxsize=1)
def prefix() -> tuple[str, ...]:
    """What to put before a command so that it does not see itself as root; empty for an ordinary user.

    As root the command gets a user namespace of its own, in which it is ``nobody``: it keeps the access to files that
    root has, so that neither accounts nor permissions of the machine are touched.

    Raises:
        ProvisionError: this machine does not let root do that.
    """
    if os.geteuid() != 0:
        return ()
    unshare = shutil.which("unshare", path=_SYSTEM_PATH)
    command = (str(unshare), "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")
    if unshare is not None:
        probe = subprocess.run(
            [*command, "/bin/true"], check=False, capture_output=True, timeout=_PROBE_TIMEOUT_SECONDS
        )
        if probe.returncode == 0:
            return command
    raise ProvisionError(
        "PostgreSQL does not run as root, and this machine gives root no user namespace (unshare --user): "
        "run this as an ordinary user"
    )
