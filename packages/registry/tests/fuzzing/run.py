"""One target in this process, instrumented: ``python -m fuzzing.run NAME``, flags."""

import logging
import sys

import atheris

from fuzzing.targets import load

INSTRUMENTED = ["modularity_registry", "modularity_client", "dns.message", "dns.name"]

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        check = load(name)
    # To minimise, libFuzzer starts what stands first here in a shell.
    again = f"{sys.executable} -m fuzzing.run {name}"
    atheris.Setup([again, *flags], check)
    atheris.Fuzz()
