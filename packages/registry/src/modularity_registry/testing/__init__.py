"""For those who write a store: the tests every store has to pass.

Importing this needs pytest and hypothesis; the registry itself imports it nowhere.
"""

import pytest

# Before the modules are imported, so that a failed assert shows its values.
for _name in (
    "contract_base",
    "contract_records",
    "contract_remote",
    "contract_watches",
    "store_contract",
    "store_model",
):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
