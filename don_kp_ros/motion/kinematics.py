"""Forward and inverse kinematics of a Franka arm."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import mink
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.robots.panda import ARM_JOINTS, TCP_SITE, panda_spec
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# A pose counts as reached within these, metres and radians.
_POSITION_TOLERANCE = 1e-5
_ROTATION_TOLERANCE = 1e-4
# Two solutions are apart where a joint is by so much, radians.
_DISTINCT = 0.05
# Distance kept from the joints' limits, radians.
_LIMIT_MARGIN = 0.02


class Kinematics:
    """Maps joint positions (7,) to poses of the tool centre point (4, 4) and back.

    The Panda and the FR3 share their geometry; the limits are the preset's.
    """

    def __init__(self, preset: RobotPreset) -> None:
        """Build the model of the arm."""
        spec = panda_spec()
        spec.site(TCP_SITE).pos = preset.tcp_offset
        for i, name in enumerate(ARM_JOINTS):
            spec.joint(name).range = [
                preset.position_lower[i] + _LIMIT_MARGIN,
                preset.position_upper[i] - _LIMIT_MARGIN,
            ]
        self._model = spec.compile()
        self._configuration = mink.Configuration(self._model)
        self._limits = [mink.ConfigurationLimit(self._model)]
        self._task = mink.FrameTask(
            TCP_SITE, 'site', position_cost=1.0, orientation_cost=0.5, lm_damping=1e-3
        )
        self._lower: Array = self._model.jnt_range[:7, 0].copy()
        self._upper: Array = self._model.jnt_range[:7, 1].copy()

    def within_limits(self, q: ArrayLike) -> bool:
        """Tell whether joint positions (7,) are finite and lie within the limits."""
        q = np.asarray(q, dtype=np.float64)
        return bool(
            np.isfinite(q).all()
            and (q >= self._lower - _LIMIT_MARGIN - 1e-9).all()
            and (q <= self._upper + _LIMIT_MARGIN + 1e-9).all()
        )

    def forward(self, q: ArrayLike) -> Array:
        """Return the pose of the tool centre point in the base frame (4, 4)."""
        self._set(np.asarray(q, dtype=np.float64))
        pose = self._configuration.get_transform_frame_to_world(TCP_SITE, 'site').as_matrix()
        return np.asarray(pose, dtype=np.float64)

    def inverse(self, T_base_tcp: ArrayLike, seed: ArrayLike, steps: int = 50) -> Array | None:
        """Return joint positions (7,) that reach a pose, found from a seed (7,), or None.

        Differential inverse kinematics as a quadratic program under the joints' limits (mink).
        """
        self._set(np.clip(np.asarray(seed, dtype=np.float64), self._lower, self._upper))
        self._task.set_target(mink.SE3.from_matrix(np.asarray(T_base_tcp, dtype=np.float64)))
        for _ in range(steps):
            error = self._task.compute_error(self._configuration)
            if (
                np.linalg.norm(error[:3]) < _POSITION_TOLERANCE
                and np.linalg.norm(error[3:]) < _ROTATION_TOLERANCE
            ):
                q: Array = self._configuration.q[:7].copy()
                return q if self.within_limits(q) else None
            try:
                velocity = mink.solve_ik(
                    self._configuration, [self._task], 1.0, 'daqp', limits=self._limits
                )
            except mink.NoSolutionFound:
                return None
            if not np.isfinite(velocity).all():
                return None
            self._configuration.integrate_inplace(velocity, 1.0)
        return None

    def solutions(self, T_base_tcp: ArrayLike, seeds: Iterable[ArrayLike]) -> Iterator[Array]:
        """Yield the distinct solutions for a pose that a number of seeds lead to."""
        found: list[Array] = []
        for seed in seeds:
            q = self.inverse(T_base_tcp, seed)
            if q is not None and all(np.abs(q - other).max() > _DISTINCT for other in found):
                found.append(q)
                yield q

    def nearest(
        self,
        start: Array,
        poses: Sequence[ArrayLike],
        others: Callable[[], Iterable[ArrayLike]],
    ) -> Iterator[tuple[Array, int]]:
        """Yield distinct solutions for some poses, each with its pose's number, by their turns.

        First what the start (7,) leads to, mostly the nearest by far; only then, for whoever asks
        on, what other seeds lead to.
        """
        tried: list[Array] = []
        for seeds in (lambda: [start], others):
            found = [(q, i) for i, T in enumerate(poses) for q in self.solutions(T, seeds())]
            for q, i in sorted(found, key=lambda one: float(np.abs(one[0] - start).max())):
                if all(np.abs(q - other).max() > _DISTINCT for other in tried):
                    tried.append(q)
                    yield q, i

    def random(self, generator: np.random.Generator) -> Array:
        """Return joint positions (7,) drawn uniformly within the limits."""
        return generator.uniform(self._lower, self._upper)

    def _set(self, q: Array) -> None:
        if q.shape != (7,) or not np.isfinite(q).all():
            raise ValueError(f'joint positions are {q.tolist()}; they need 7 finite values')
        full = self._model.qpos0.copy()
        full[:7] = q
        self._configuration.update(full)
