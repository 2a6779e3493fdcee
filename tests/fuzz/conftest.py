import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scripts_once():
    """Import a script by name, for the whole session: Hypothesis wants a fixture that outlives an example."""
    folder = str(Path(__file__).parents[2] / "scripts")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)
