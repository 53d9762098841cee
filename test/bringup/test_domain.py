import subprocess
import sys

from don_kp_ros.bringup.domain import free_domain


def test_a_domain_is_given_once() -> None:
    domains = [free_domain() for _ in range(3)]
    script = (
        'import os; os.getpid = lambda: {0} - 1;'
        'from don_kp_ros.bringup.domain import free_domain; print(free_domain())'
    )
    for domain in list(domains):
        command = [sys.executable, '-c', script.format(domain)]  # it begins with that domain
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        domains.append(int(done.stdout))
        assert domains[-1] not in domains[:3]
    assert len(set(domains[:3])) == 3
    assert all(1 <= domain <= 100 for domain in domains)
