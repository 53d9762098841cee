"""Run the study of keypoints, don_kp_ros/studies/keypoints.py.

`DATA=FOLDER python -m benchmarks.keypoints`: on the trainings of `benchmarks.accuracy`, of which
it does those that are missing; DATA, MINUTES, METHODS (mined, joint) and SEEDS as there. TURNS (8)
copies of a picture are looked at. RETRAIN=1 also trains with views turned by +-180 degrees.
"""

import os
import sys

from benchmarks.studies import study

if __name__ == '__main__':
    if os.environ.get('RETRAIN') in ('0', '1'):
        os.environ['RETRAIN'] = 'true' if os.environ['RETRAIN'] == '1' else 'false'
    sys.exit(study('keypoints', numbers=('MINUTES', 'TURNS', 'RETRAIN'), words=('METHODS',)))
