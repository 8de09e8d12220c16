"""What runs inside machines: the tiny guest, and talking to agents."""
