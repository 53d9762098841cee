"""What is mistyped on a command line is told; what is only asked for help is light."""

import subprocess
import sys

import pytest

from don_kp_ros import cli

HEAVY = {
    'cv2', 'don_kp', 'lightning', 'mujoco', 'numpy', 'onnx', 'PIL', 'rclpy', 'rich', 'scipy',
    'sqlalchemy', 'torch',
}  # fmt: skip
HELP = """
import sys
from don_kp_ros import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as end:
    print(*sys.modules)
    sys.exit(end.code)
"""


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_imports_nothing_that_is_slow(name: str) -> None:
    command = [sys.executable, '-c', HELP, name, '--help']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, modules = done.stdout.rsplit('\n', 2)[:2]
    assert told.startswith(f'usage: don_kp {name}')
    assert not {module.partition('.')[0] for module in modules.split()} & HEAVY


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run what is refused; return the last line that it says."""
    try:
        status = cli.main(list(arguments))
    except SystemExit as end:
        status = end.code
    assert status in (1, 2)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('arguments', 'meant'),
    [
        ('trian folder', 'train'),
        ('mtach a 1 2 b', 'match'),
        ('train folder --step 5', '--steps'),
        ('train --step 5 folder', '--steps'),
        ('train folder --step=5', '--steps'),
        ('train folder --view.size=5', 'views'),
        ('train folder --config phots', 'photos'),
        ('train folder --out m.safetensors', '--output'),
        ('evaluate folder --protocol held_views --modle m', '--model'),
        ('evaluate folder --protocol held_views --model m --devise=cpu', '--device'),
        ('study leave_one_out folder --minute 5', '--minutes'),
        ('study leave_one_out folder --minute=5', '--minutes'),
        ('match a.png 1 2 b.png --modle m', '--model'),
        ('match a.png 1 2 b.png --modle=m', '--model'),
        ('export m.safetensors --onx m.onnx', '--onnx'),
        ('render folder --view 5', '--views'),
        ('grasp --trial 5', '--trials'),
        ('db list --jsn', '--json'),
        ('db list --databse d.sqlite', '--database'),
        ('bringup simulatoin:=true', 'simulation'),
        ('bringup --log-dir logs', '--log-directory'),
    ],
)
def test_what_is_mistyped_is_told(
    capsys: pytest.CaptureFixture[str], arguments: str, meant: str
) -> None:
    said = refusal(capsys, *arguments.split())
    assert said.endswith(f'; did you mean {meant}?'), said


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ('xyzzy', "unknown command 'xyzzy'; the commands are bringup, "),
        ('train folder --xyzzy 5', 'unrecognized arguments: --xyzzy 5'),
        ('train folder --steps five', "argument --steps: invalid int value: 'five'"),
        ('match a.png 1 -2 b.png c.png', 'unrecognized arguments: c.png'),
        ('grasp --domain 300', '--domain is 300; it must be from 0 to 232'),
    ],
)
def test_nothing_far_off_is_suggested(
    capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    said = refusal(capsys, *arguments.split())
    assert words in said
    assert 'did you mean' not in said
