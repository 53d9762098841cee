"""Run the study of a few photos, don_kp_ros/studies/real_photos.py.

`DATA=FOLDER python -m benchmarks.real_photos`: FOLDER, or its caps_real/, holds rgbs/ and masks/;
without DATA, a few rendered pictures take the photos' place. SEED=1 trains from another seed,
MINUTES is the processor time of the training (10).
"""

import os
import sys
from functools import partial

from benchmarks import rendered
from benchmarks.studies import study

if __name__ == '__main__':
    seed = os.environ.setdefault('SEEDS', os.environ.get('SEED') or '0')
    photos = partial(rendered.photos, int(seed))
    sys.exit(study('real_photos', numbers=('MINUTES',), stand_in=photos))
