"""Command lines and pages of notes that people already have, made into labs."""
