"""The signals by which a command is told to end."""

import signal


def ending_signals() -> list[signal.Signals]:
    """Return them; SIGHUP is none of them where it is ignored, as `nohup` has it."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]
