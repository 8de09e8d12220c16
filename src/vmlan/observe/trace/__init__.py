"""Where a packet goes and where it dies: one is sent, and looked for on every link that it should pass.

trace(scene, "vm1", "203.0.113.68").verdict.reason
"""

from __future__ import annotations

from vmlan.observe.trace.run import WATCH, trace
from vmlan.observe.trace.values import Hop, Sighting, Trace, Verdict

__all__ = ["WATCH", "Hop", "Sighting", "Trace", "Verdict", "trace"]
