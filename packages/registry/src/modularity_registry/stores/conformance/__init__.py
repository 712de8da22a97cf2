"""For those who write a store: the tests every store has to pass.

Importing this needs pytest and hypothesis; the registry itself imports it nowhere.
"""

import pytest

# Before the modules are imported, so that a failed assert shows its values.
for _name in (
    "base",
    "records",
    "outages",
    "watches",
    "contract",
    "model",
):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
