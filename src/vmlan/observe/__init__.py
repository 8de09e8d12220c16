"""Looking at what runs: readiness, status, checks."""
