"""All threads of a serving process allocate from one heap."""

import subprocess
import sys
from pathlib import Path

import pytest

# Eight threads hold memory at the same time; then the C library names its heaps.
PROGRAM = """
import ctypes, sys, threading
from modularity_registry.serving.process import keep_one_heap
if sys.argv[1] == "one":
    keep_one_heap()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
all_hold = threading.Barrier(9)
def hold():
    kept = [bytes(5_000) for _ in range(100)]
    all_hold.wait(20)
    all_hold.wait(20)
for _ in range(8):
    threading.Thread(target=hold).start()
all_hold.wait(20)
out = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
all_hold.wait(20)
"""


def heaps(which: str, folder: Path) -> int:
    """Return how many heaps the threads of a process use."""
    named = folder / which
    subprocess.run([sys.executable, "-c", PROGRAM, which, named], check=True)
    return named.read_text().count("<heap ")


@pytest.mark.skipif(sys.platform != "linux", reason="it is the GNU C library's way")
def test_threads_share_one_heap(tmp_path: Path) -> None:
    assert heaps("several", tmp_path) > 1
    assert heaps("one", tmp_path) == 1
