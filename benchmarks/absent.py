"""Run the study of absent objects, don_kp_ros/studies/absent.py.

`DATA=FOLDER python -m benchmarks.absent`: FOLDER holds caps_real/, and pictures without that cap
in backgrounds/, caps/ or ycb_real/; without DATA rendered caps take their place. SEEDS=0,1 trains
from several seeds, MINUTES is the processor time of each training (10). One is on all photos, and
one without each; they are kept and gone on with.
"""

import sys

from benchmarks.studies import study

if __name__ == '__main__':
    sys.exit(study('absent', numbers=('MINUTES',)))
