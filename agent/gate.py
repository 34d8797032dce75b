"""The gateway's door: open while it serves, closed from the moment it is told to stop."""

from dataclasses import dataclass


@dataclass(slots=True)
class Gate:
    """One switch that the process turns and the edge looks at."""

    closed: bool = False

    def close(self) -> None:
        """New requests are refused; open ones go on."""
        self.closed = True
