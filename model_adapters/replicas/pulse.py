"""Signs that a process works: without them, one that hangs could not be told from one that loads from a slow disk."""

import resource

LEAST_BYTES = 64 * 2**10
"""Less between two looks is that of threads which only wait."""
BLOCK_BYTES = 512


class Pulse:
    """Notices whether this process, or one that it started and that has ended, reads, writes or takes memory.

    Reading a file, from a disk or mapped, copying weights and compiling all do. A process that waits does not, and
    neither does one that only computes on the memory that it has, such as a driver that polls a GPU which is stuck.
    """

    def __init__(self) -> None:
        self._before = _bytes_moved()

    def beats(self) -> bool:
        """Whether anything happened since the last call."""
        before, self._before = self._before, _bytes_moved()
        return self._before - before >= LEAST_BYTES


def _bytes_moved() -> int:
    """Bytes of pages that the process first touched, and of blocks that it read or wrote."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    pages = sum(use.ru_minflt + use.ru_majflt for use in uses)
    blocks = sum(use.ru_inblock + use.ru_oublock for use in uses)
    return pages * resource.getpagesize() + blocks * BLOCK_BYTES
