"""A way in the space of the joints, by OMPL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ompl import base, geometric, util

from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]


def quiet_and_repeatable(seed: int) -> None:
    """Have all searches of this process say nothing, and find the same in the same order."""
    util.noOutputHandler()
    util.RNG.setSeed(seed)


def search(
    preset: RobotPreset,
    start: Array,
    goal: Array,
    step: float,
    blocked: Callable[[ArrayLike], bool],
    deadline: float,
    check: Callable[[], None],
) -> Array | None:
    """Return a path (n, 7) whose straight pieces are free, or None where none is found in time.

    RRTConnect (Kuffner and LaValle 2000), shortened. Pieces are judged every ``step`` radians;
    ``deadline`` is of the thread's processor time; ``check`` is called meanwhile, and may raise.
    """
    space = base.RealVectorStateSpace(7)
    bounds = base.RealVectorBounds(7)
    for i in range(7):
        bounds.setLow(i, min(preset.position_lower[i], start[i]))
        bounds.setHigh(i, max(preset.position_upper[i], start[i]))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)
    setup.setStateValidityChecker(lambda state: not blocked(_values(state)))
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(step / space.getMaximumExtent())
    setup.setStartAndGoalStates(_state(space, start), _state(space, goal))
    planner = geometric.RRTConnect(information)
    planner.setRange(1.0)
    setup.setPlanner(planner)
    while time.thread_time() < deadline:
        check()
        # In slices, so that a cancellation is noticed.
        setup.solve(0.1)
        if setup.haveExactSolutionPath():
            simplifier = setup.getPathSimplifier()
            path = setup.getSolutionPath()
            simplifier.reduceVertices(path)
            simplifier.partialShortcutPath(path)
            return np.array([_values(state) for state in path.getStates()])
    return None


def _values(state: Any) -> list[float]:
    return [state[i] for i in range(7)]


def _state(space: Any, q: Array) -> Any:
    state = space.allocState()
    for i in range(7):
        state[i] = float(q[i])
    return state
