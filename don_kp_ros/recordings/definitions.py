"""The definitions of messages, as rosbag2 puts them into recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from don_kp_ros.errors import RefusedError
from don_kp_ros.resources import interface_path

_SEPARATOR = '=' * 80
_FEEDBACK = '_FeedbackMessage'
_FIELD = re.compile(r'^\s*((?:\w+/)*[A-Z]\w*)(?:\[[^\]]*\])?\s+\w+', re.MULTILINE)


def definition(kind: str) -> str:
    """Return the text of a message's definition, followed by those of all that are in it.

    kind: such as sensor_msgs/msg/Image or don_kp/action/Grasp_FeedbackMessage. Raises RefusedError
    where its package does not tell.
    """
    texts = {kind: _text(kind)}
    for one in (waiting := [kind]):
        for inner in _fields(one, texts[one]):
            if inner not in texts:
                texts[inner] = _text(inner)
                waiting.append(inner)
    own = texts.pop(kind)
    others = (f'MSG: {_short(name)}\n{text}' for name, text in texts.items())
    return f'\n{_SEPARATOR}\n'.join((own, *others))


def is_digest(text: str) -> bool:
    """Tell whether a text is the digest of a definition; others are such as INVALID."""
    return text.startswith('RIHS01_')


def _text(kind: str) -> str:
    package, _, name = kind.split('/')
    try:
        if '/action/' not in kind:
            return interface_path(package, f'msg/{name}.msg').read_text(encoding='utf-8')
        # What an action says on its way is a message that wraps a part of the action's file.
        action, _, part = name.rpartition('_')
        if name.endswith(_FEEDBACK):
            return (
                f'unique_identifier_msgs/UUID goal_id\n{package}/action/{action}_Feedback feedback'
            )
        if part == 'Feedback':
            return (
                interface_path(package, f'action/{action}.action')
                .read_text(encoding='utf-8')
                .split('\n---\n')[2]
            )
    except (OSError, IndexError) as error:
        raise RefusedError(f'{kind}: its definition is not found ({error})') from error
    raise RefusedError(f'{kind}: no message that can be recorded')


def _fields(kind: str, text: str) -> Iterator[str]:
    """Yield the kinds of the messages that are fields of a message."""
    for name in _FIELD.findall(text):
        package, *_, last = name.split('/') if '/' in name else (kind.split('/')[0], name)
        yield f'{package}/{"action" if "/action/" in name else "msg"}/{last}'


def _short(kind: str) -> str:
    """Return the name of a message as other messages' definitions write it."""
    return kind.replace('/msg/', '/')
