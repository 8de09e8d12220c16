"""What `up` and `down` tell while they work."""

from __future__ import annotations

from vmlan.plan.steps import Step


class Progress:
    """What `up` and `down` tell while they work. Does nothing; the command line shows it."""

    def preparing(self, what: str) -> None:
        """Something takes time before anything starts (building the tiny guest)."""

    def step(self, steps: tuple[Step, ...]) -> None:
        """These steps of the plan run now."""

    def machine(self, name: str, state: str) -> None:
        """A machine is in a new state: "starts", "boots", "waits for its address", "ready", …"""

    def detail(self, text: str) -> None:
        """Something for those who want to know more (`-v`)."""

    def note(self, text: str) -> None:
        """Something the user should know."""
