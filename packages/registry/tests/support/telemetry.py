"""Whether traces can be exported here."""

import pytest


def require_otlp() -> None:
    """Skip the test, or the module, where another package has broken the exporter."""
    from opentelemetry.proto.common.v1 import common_pb2

    if not hasattr(common_pb2, "InstrumentationScope"):
        pytest.skip(
            "xds-protos has overwritten files of opentelemetry-proto; run uv pip"
            " install --reinstall --no-deps opentelemetry-proto",
            allow_module_level=True,
        )
