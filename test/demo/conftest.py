import pytest


@pytest.fixture(scope='session', autouse=True)
def _alone(ros_environment):
    """The stack is one of this test session alone."""
