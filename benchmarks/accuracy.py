"""Run the study of descriptors' accuracy, don_kp_ros/studies/accuracy.py.

`DATA=FOLDER python -m benchmarks.accuracy`: FOLDER holds caps/, caps_real/ and backgrounds/;
without DATA rendered caps take their place. SPLITS, METHODS and SEEDS choose some (SPLITS=held
METHODS=joint SEEDS=0,1), LEFT_OUT some of the objects, by their first pictures' names
(LEFT_OUT=01_rgb,04_rgb), MINUTES is the processor time of each training (10), ROTATION the degrees
by which views are turned (45). In all there are 54 trainings, some eleven hours on one core; they
are kept and gone on with.
"""

import sys

from benchmarks.studies import study

if __name__ == '__main__':
    words = ('SPLITS', 'LEFT_OUT', 'METHODS')
    sys.exit(study('accuracy', numbers=('MINUTES', 'ROTATION'), words=words))
