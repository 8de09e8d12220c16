"""Real machines on real networks, from one file, as an ordinary user."""
