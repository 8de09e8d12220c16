"""All that touches this machine: programs, files, the keeper, the journal."""
