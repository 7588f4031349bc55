"""One fetch in a process of its own: `python -m tests.download.driver CACHE OPTIONS SOURCE...`.

OPTIONS is a JSON object: `fsize` a limit on the size of files, `locks` whether locks work, `uid` a
user to become, `connections` how many, `force` and `offline` as for `fetch`; offline any socket
ends the process. Each SOURCE is `name=address`. Prints the result as JSON, exits as the command
line would.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import hornet_convert.download.remote
from hornet_convert.download.sources import Source, SourceName
from hornet_convert.errors import EXIT_INTERRUPTED, HornetConvertError
from tests.download.setting import LIMITS, Watcher, get

PATIENCE = replace(LIMITS, max_bytes=1 << 40)

# A user that the process becomes later may not be able to read the libraries.
EARLY = (hornet_convert.download.remote,)


def main(cache: str, options: str, *addresses: str) -> int:
    """Fetch, print, and return the exit code."""
    settings = json.loads(options)
    if "fsize" in settings:
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings["fsize"], settings["fsize"]))
    if not settings.get("locks", True):
        import fcntl

        # What a file system without locks does: say yes to everyone.
        fcntl.flock = lambda descriptor, operation: None
    if settings.get("offline"):
        sys.addaudithook(_no_sockets)
    if "uid" in settings:
        os.setuid(settings["uid"])
    sources = [_source(*text.split("=", 1)) for text in addresses]
    try:
        got = get(
            Path(cache),
            sources,
            Watcher(replace(PATIENCE, connections=settings.get("connections", 1))),
            force=settings.get("force", False),
            offline=settings.get("offline", False),
        )
    except HornetConvertError as error:
        print(json.dumps({"error": str(error)}))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    facts = {"path": str(got.path), "sha256": got.sha256, "from_cache": got.from_cache}
    print(json.dumps({**facts, "peak_mebibytes": _peak()}))
    return 0


def _peak() -> float:
    """Peak memory of this program in MiB; what its parent had at the fork does not count."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _no_sockets(event: str, arguments: object) -> None:
    if event.startswith("socket."):
        os._exit(99)


def _source(name: str, address: str) -> Source:
    return Source(cast(SourceName, name), address)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
