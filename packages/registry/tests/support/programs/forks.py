"""Forks registries that inherit its environment, such as a library to preload.

Each line of the standard input has the settings of one, as JSON; for each it prints
the number of the process.
"""

import os
import signal
import sys

from support.programs.registry import main


def run() -> None:
    """Fork until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        if child := os.fork():
            print(child, flush=True)
            continue
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        main(line)


if __name__ == "__main__":
    run()
