"""Reading a store's URL loads no driver."""

import os
import sys


def test_checking_a_url_imports_no_driver() -> None:
    program = (
        "import sys\n"
        "from modularity_registry.stores import check_store_url\n"
        "check_store_url('sqlite:///registry.db')\n"
        "assert 'sqlite3' not in sys.modules\n"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0
