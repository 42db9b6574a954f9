"""A made-up study that the tests of all tables read."""

import pytest

from sarship.comparison.configurations import Configuration, read_configurations
from sarship.comparison.statistics import Bootstrap
from tests.small_scores import make_scores


@pytest.fixture(scope="session")
def configurations(tmp_path_factory) -> list[Configuration]:
    return read_configurations([make_scores(tmp_path_factory.mktemp("scores"))])


@pytest.fixture(scope="session")
def bootstrap() -> Bootstrap:
    return Bootstrap(2000)
