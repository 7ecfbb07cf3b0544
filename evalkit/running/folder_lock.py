"""Lock of a run's folder, which one process uses at a time."""

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from evalkit.errors import UsageError

LOCK = ".lock"
_ATTEMPTS = 100


class FolderInUseError(UsageError):
    """Another process uses the folder."""


class FolderLock:
    """Exclusive use of a folder, created if needed; use as a context manager.

    Take it before work that is lost if the folder turns out to be in use, such as loading a model. A folder that it
    created and that is still empty when it is released is removed again.
    """

    def __init__(self, folder: Path, *, in_place: bool = False) -> None:
        """Raises FolderInUseError if another process uses the folder, and UsageError if it cannot be written.

        `in_place` says that the command changes this folder, and has no --out to name another one.
        """
        self.folder = folder
        self._created = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        try:
            self._lock = _lock(folder)
        except Timeout:
            raise _in_use(folder, in_place=in_place) from None
        except OSError as error:
            self._remove_created()
            raise cannot_write(folder, error, in_place=in_place) from None

    def release(self) -> None:
        """Let others use the folder; a second call does nothing."""
        if not self._lock.is_locked:
            return
        with contextlib.suppress(OSError):
            if os.listdir(self.folder) == [LOCK]:
                (self.folder / LOCK).unlink()
                self._remove_created()
        self._lock.release()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _remove_created(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._created:
                path.rmdir()


def refuse_locked(folder: Path) -> None:
    """Raise UsageError if another process uses the folder; nothing is created."""
    if not os.path.exists(folder / LOCK):
        return
    try:
        FileLock(folder / LOCK, blocking=False).acquire().lock.release()
    except Timeout:
        raise _in_use(folder) from None
    except OSError as error:
        raise cannot_write(folder, error) from None


def cannot_write(folder: Path, error: OSError, *, in_place: bool = False) -> UsageError:
    remedy = "make it writable, or name a copy of it" if in_place else "choose another folder with --out"
    return UsageError(f"cannot write to {folder}: {error.strerror}; {remedy}")


def _in_use(folder: Path, *, in_place: bool = False) -> FolderInUseError:
    remedy = "wait for it" if in_place else "wait for it or choose another --out"
    return FolderInUseError(f"{folder} is in use by another process; {remedy}")


def _lock(folder: Path) -> FileLock:
    # Not of a thread: a model may be loaded, and a run ended, in another than took the lock.
    lock = FileLock(folder / LOCK, blocking=False, thread_local=False)
    for attempt in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (FileExistsError, FileNotFoundError):
            # Its last holder may be removing the empty folder.
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return lock
