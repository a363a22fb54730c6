"""The modules that the children of the feeder are forked with exist: a wrong name would be skipped silently."""

from importlib.util import find_spec

from services.ingest.feeder.role import PRELOADED_MODULES


def test_every_preloaded_module_exists() -> None:
    assert all(find_spec(name) is not None for name in PRELOADED_MODULES)
