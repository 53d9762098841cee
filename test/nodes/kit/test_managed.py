"""A managed node whose transitions fail in ways that nobody foresaw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from don_kp_ros.nodes.kit.managed import ManagedNode
from don_kp_ros.nodes.kit.runner import StartupError


class Faulty(ManagedNode):
    """Cannot be activated, for a bug."""

    def __init__(self, context: object) -> None:
        super().__init__('faulty', context=context)
        self.holds = False

    def configure(self) -> None:
        self.holds = True

    def activate(self) -> None:
        raise ValueError('a bug')

    def cleanup(self) -> None:
        self.holds = False


@pytest.fixture
def faulty(context: object) -> Iterator[Faulty]:
    made = Faulty(context)
    yield made
    made.destroy_node()


def test_after_an_error_in_a_transition_nothing_is_held_and_its_cause_is_told(
    faulty: Faulty, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(StartupError, match=r"internal error: ValueError\('a bug'\)"):
        faulty.start()
    assert faulty.state == 'unconfigured'
    assert not faulty.holds
    told = capfd.readouterr().err
    assert 'cannot activate:' in told and "raise ValueError('a bug')" in told
