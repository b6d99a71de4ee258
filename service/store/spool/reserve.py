"""Space on the disk that belongs to a file before it is written."""

from __future__ import annotations

import ctypes
import os
from typing import IO

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE: the blocks lie behind the end of the file


def reserve(file: IO[bytes], n_bytes: int) -> bool:
    """Keep space for the next bytes that are appended; whether the file system has given it.

    Others may fill the disk meanwhile: the space is the file's. Cutting the file off gives it back.
    """
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None or n_bytes == 0:  # not on Linux
        return False
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    end = os.fstat(file.fileno()).st_size
    return bool(fallocate(file.fileno(), _KEEP_SIZE, end, n_bytes) == 0)
