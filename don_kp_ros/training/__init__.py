"""Losses, the training module and the training command."""

import os

# By default OpenMP's threads spin while they wait. If the loader or another program needs the
# processor, too, a step then takes several times as long. Read once, when torch is first imported.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
