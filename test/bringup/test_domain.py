import socket
import subprocess
import sys

import pytest

from don_kp_ros.bringup.domain import free_domain, leave_domain

_SCRIPT = (
    'import os; os.getpid = lambda: {0} - 1;'
    'from don_kp_ros.bringup.domain import free_domain; print(free_domain())'
)


def of_another_process(first: int) -> int:
    """Return the domain of a process that looks at a certain one first, and has ended."""
    command = [sys.executable, '-c', _SCRIPT.format(first)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_domain_is_given_once() -> None:
    domains = [free_domain() for _ in range(3)]
    for domain in list(domains):
        domains.append(of_another_process(domain))
        assert domains[-1] not in domains[:3]
    assert len(set(domains[:3])) == 3
    assert all(1 <= domain <= 100 for domain in domains)


def test_a_domain_that_is_left_is_given_again() -> None:
    domain = free_domain()
    assert of_another_process(domain) != domain
    leave_domain(domain)
    assert of_another_process(domain) == domain


@pytest.mark.parametrize('port', [7410, 7412, 7413, 7648], ids=str)
def test_a_domain_whose_first_participant_has_left_is_in_use(port: int) -> None:
    domain = of_another_process(50)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('', port + 250 * domain))
        assert of_another_process(domain) != domain
