"""Studies by the names and variables that `make bench` takes; `don_kp study` does the work.

Their results lie under output/bench/, their trainings where those of all studies do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.rendered import caps, data_folder
from benchmarks.report import OUTPUT, given
from don_kp_ros.studies import command


def study(
    name: str,
    config: str = '',
    numbers: tuple[str, ...] = (),
    lists: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    stand_in: Callable[[], Path] = caps,
) -> int:
    """Run a study on DATA and return its exit status.

    config: the name of its configuration, where that is another; numbers, lists, words: variables
    that give its keys, each a number, numbers, or words, besides SEEDS; stand_in: makes a folder
    where DATA names none.
    """
    variables = given('SEEDS', *numbers, *lists, *words)
    data = os.environ.get('DATA')
    variant = [f'{variable.lower()}={value}' for variable, value in variables.items()]
    overrides = []
    for variable, value in variables.items():
        text = f'[{value}]' if variable in lists else value
        text = json.dumps(value.split(',')) if variable in words else text
        overrides.append(f'--{variable.lower()}={text}')
    output = OUTPUT / '-'.join([name, Path(data).resolve().name if data else 'rendered', *variant])
    arguments = [config or name, str(data_folder(stand_in)), f'--output={output}', *overrides]
    return command.main([*arguments, *sys.argv[1:]])
