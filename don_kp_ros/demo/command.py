"""`don_kp grasp`: grasp trials in simulation."""

from __future__ import annotations

from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.bringup.description import LAST_DOMAIN
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

KINDS = ('cap', 'mug', 'can', 'bottle', 'box')
MOST_OTHERS = 8  # for more there is no room


def main(argv: list[str]) -> int:
    """Run grasp trials in simulation."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.trials < 1 or options.seed < 0:
        parser.error('--trials must be at least 1 and --seed at least 0')
    if options.others > MOST_OTHERS:
        parser.error(f'--others is {options.others}; it must be at most {MOST_OTHERS}')
    if options.mode == 'aligned' and (options.teach == 'once' or options.cap == 'absent'):
        parser.error('--mode aligned teaches each object; leave out --teach once and --cap absent')
    if options.domain is not None and not 0 <= options.domain <= LAST_DOMAIN:
        parser.error(f'--domain is {options.domain}; it must be from 0 to {LAST_DOMAIN}')
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
    parser.add_argument('--object', choices=KINDS, default='cap', help='its kind; default: cap')
    parser.add_argument(
        '--cap', choices=('present', 'absent'), default='present', help='whether it is there'
    )
    parser.add_argument(
        '--others',
        type=int,
        default=-1,
        help='other objects on the table, up to 8; default: one to three',
    )
    parser.add_argument(
        '--teach',
        choices=('each', 'once'),
        default='each',
        help='each: on the object that is then moved; once: on the first, then pinch others',
    )
    parser.add_argument(
        '--mode',
        choices=('both', 'pinch', 'aligned'),
        default='both',
        help='both: pinch it at the point, then hold it by its name as was taught by that; '
        'aligned: hold it by its name as its kind is held',
    )
    parser.add_argument('--model', type=Path, help='checkpoint; default: one that is shipped')
    parser.add_argument('--domain', type=int, help='ROS domain; default: a free one')
    parser.add_argument(
        '--real-time-factor',
        type=float,
        default=0.0,
        help='simulated seconds in a second, at most; default: 0, as many as can be followed',
    )
    parser.add_argument('--output', type=Path, default=Path('output'))
    return parser
