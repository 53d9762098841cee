"""`don_kp grasp`: grasp trials in simulation."""

from __future__ import annotations

from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable


def main(argv: list[str]) -> int:
    """Run grasp trials in simulation."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.trials < 1 or options.seed < 0:
        parser.error('--trials must be at least 1 and --seed at least 0')
    if options.model is not None and not options.model.is_file():
        parser.error(f'--model {options.model} is not a file')
    try:
        check_writable(options.output / 'grasp.json')
    except RefusedError as error:
        parser.error(str(error))
    # Only now: rclpy, NumPy and the messages are slow to import.
    from don_kp_ros.demo import trials

    return trials.run(options)


def _parser() -> Parser:
    parser = Parser(prog='don_kp grasp', description=main.__doc__)
    parser.add_argument('--trials', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cap', choices=('present', 'absent'), default='present')
    parser.add_argument(
        '--teach',
        choices=('each', 'once'),
        default='each',
        help='each: on the cap that is then moved; once: on the first, then grasp other caps',
    )
    parser.add_argument(
        '--mode',
        choices=('both', 'pinch'),
        default='both',
        help='both: pinch it at the point, then hold it by its name as was taught by that',
    )
    parser.add_argument('--model', type=Path, help='checkpoint; default: the shipped one')
    parser.add_argument('--domain', type=int, help='ROS domain; default: a free one')
    parser.add_argument(
        '--real-time-factor',
        type=float,
        default=0.0,
        help='simulated seconds in a second, at most; default: 0, as many as can be followed',
    )
    parser.add_argument('--output', type=Path, default=Path('output'))
    return parser
