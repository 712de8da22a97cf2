"""The tests that every store must pass, for those who write a store.

It needs pytest and hypothesis. The registry itself does not import it.
"""

import pytest

# Before the modules are imported, so that a failed assert shows its values.
for _name in (
    "base",
    "batches",
    "records",
    "outages",
    "watches",
    "contract",
    "model",
):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
