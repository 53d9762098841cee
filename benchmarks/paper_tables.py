"""Run the study of paper 1's tables, don_kp_ros/studies/paper_tables.py.

`DATA=FOLDER BUDGET=cpu python -m benchmarks.paper_tables`, DATA as of benchmarks.accuracy:

BUDGET=cpu    the project's own recipes, MINUTES (2) processor minutes each, two at a time
BUDGET=paper  as the paper is printed, on a GPU: ResNet-34, one pair of about 640x480 pixels a
              step, EPOCHS (2500) of as many steps as there are pictures, three models each

DIMENSIONS and SEEDS choose some (DIMENSIONS=3,64 SEEDS=0,1), JOBS is the number of trainings at a
time. Trainings are kept and gone on with; what they print goes to trainings.log by the results.
"""

import os
import sys

from benchmarks.studies import study

CONFIGURATIONS = {'cpu': 'paper_tables', 'paper': 'paper_tables_as_printed'}


def main() -> int:
    """Run the study of BUDGET; return its exit status."""
    budget = os.environ.get('BUDGET') or 'cpu'
    if budget not in CONFIGURATIONS:
        print(
            f'paper_tables: BUDGET is {budget}; allowed are {", ".join(CONFIGURATIONS)}',
            file=sys.stderr,
        )
        return 2
    numbers = ('MINUTES' if budget == 'cpu' else 'EPOCHS', 'JOBS')
    return study('paper_tables', CONFIGURATIONS[budget], numbers=numbers, lists=('DIMENSIONS',))


if __name__ == '__main__':
    sys.exit(main())
