"""Fixtures shared by all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a failure is there for everyone, and tomorrow. No deadline: a busy machine is no bug.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Started in the background of a script, pytest would hand on that Ctrl-C is ignored, and tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real samples beside the checkout; a user's checkout has none, and the test is skipped."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real samples (../shared/data) are not on this machine")
    return folder
