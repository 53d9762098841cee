"""Launch arguments of which one would do nothing beside another."""

from collections.abc import Mapping


def refuse_conflicts(values: Mapping[str, str], defaults: Mapping[str, str]) -> None:
    """Raise ValueError where an argument would do nothing, with what to give instead.

    values, defaults: of all arguments. That of `nodes` is every node, of which the simulation is
    left out where nothing is simulated.
    """
    nodes = values['nodes']
    if values['simulation'] == 'false':
        if nodes != defaults['nodes'] and 'simulation' in nodes.split(','):
            raise ValueError(
                f'nodes is {nodes!r}, but simulation is false: give simulation:=true, or leave '
                'the node simulation out'
            )
        if values['board'] == 'true':
            raise ValueError(
                'board is true, but simulation is false, and only a simulated board is laid: give '
                'simulation:=true, or leave board out'
            )
        for name in ('real_time_factor', 'simulation_domain'):
            if values[name] != defaults[name]:
                raise ValueError(
                    f'{name} is {values[name]}, but simulation is false, and only a simulation '
                    f'has one: give simulation:=true, or leave {name} out'
                )
    else:
        if values['camera_mount'] == 'hand':
            raise ValueError(
                'camera_mount is hand, but simulation is true, and tells itself where its camera '
                'is: leave camera_mount out'
            )
        if values['camera_driver'] == 'true':
            raise ValueError(
                'camera_driver is true, but simulation is true, whose camera has no driver: leave '
                'camera_driver out, or give simulation:=false'
            )
    if values['database'] and values['database_url']:
        raise ValueError(
            f'database is {values["database"]!r}, and database_url is given, too: leave out the '
            'one that is not meant'
        )
