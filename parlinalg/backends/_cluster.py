"""A cluster of IPython engines that lives as long as this process, and no longer, however it ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import weakref
from typing import TYPE_CHECKING

from ..errors import BackendError
from ..workers import cpu_count
from ._launch import interrupts_held

if TYPE_CHECKING:
    import ipyparallel

__all__ = ["PRIVATE", "OwnCluster"]

PRIVATE = "IPP_PROFILE_DIR"  # variable that each process of a cluster has: its folder
SECONDS_TO_START = 60.0 if cpu_count() > 1 else 120.0

# Ends the cluster when its standard input does: its processes are those whose environment names the folder.
WATCH = f"""
import shutil, sys, time
import psutil

folder = sys.argv[1]

def members():
    for process in psutil.process_iter():
        try:
            if process.environ().get("{PRIVATE}") == folder:
                yield process
        except (psutil.Error, OSError):
            pass

sys.stdin.read()
for _ in range(50):
    left = list(members())
    if not left:
        break
    for process in left:
        try:
            process.kill()
        except psutil.Error:
            pass
    time.sleep(0.1)
shutil.rmtree(folder, ignore_errors=True)
"""

# Messages whose signatures are remembered, so that nobody can send one again: by default some 10 MB of them.
REMEMBERED = 1024


class OwnCluster:
    """A controller and engines on this host, in a private folder, listening to this host only.

    Raises
    ------
    BackendError
        If it does not start.
    """

    def __init__(self, engines: int) -> None:
        import ipyparallel

        self.engines = engines  # that were started, whether they live or not
        with interrupts_held():
            self.folder = tempfile.mkdtemp(prefix="parlinalg-engines-")  # of this user only, as are its keys
            command = [sys.executable, "-c", WATCH, self.folder]
            watch = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            self._finalizer = weakref.finalize(self, end, watch, os.getpid())
        try:
            self._cluster = ipyparallel.Cluster(
                n=engines,
                profile_dir=self.folder,
                cluster_id="",
                cluster_file="",  # it would be written when the cluster ends, into the folder that is gone then
                controller_ip="127.0.0.1",
                controller_args=["--HeartMonitor.period=1000", "--HeartMonitor.max_heartmonitor_misses=5"],
                log_level=logging.CRITICAL,
                shutdown_atexit=False,  # `end` does it
            )
            self._cluster.start_cluster_sync()
            with interrupts_held():  # nobody could close a client that is half made, nor its sockets and thread
                self.client: ipyparallel.Client = self._cluster.connect_client_sync()
            self.client.session.digest_history_size = REMEMBERED
            self.client.wait_for_engines(engines, timeout=SECONDS_TO_START, interactive=False)
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise BackendError(f"ipyparallel: a cluster of {engines} engines could not start: {error}") from error
            raise

    def add(self, engines: int) -> None:
        """Start more engines."""
        target = len(self.client.ids) + engines
        self._cluster.start_engines_sync(engines)
        self.client.wait_for_engines(target, timeout=SECONDS_TO_START, interactive=False)
        self.engines += engines

    def close(self) -> None:
        """End it. May be called again."""
        try:
            if hasattr(self, "client"):  # it has started
                with interrupts_held():
                    self.client.close(linger=0)
        finally:
            self._finalizer()


def end(watch: subprocess.Popen[bytes], owner: int) -> None:
    """Let the process that watches end the cluster, and wait for it; not in a process that was forked."""
    if owner != os.getpid():
        watch.returncode = 0  # or Popen would warn that it still runs
        return
    assert watch.stdin is not None
    watch.stdin.close()
    if watch.wait() != 0:  # it was killed, and another one has to do its work
        subprocess.run(watch.args, stdin=subprocess.DEVNULL, start_new_session=True, check=False)
