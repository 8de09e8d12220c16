"""The kinds of check, one a module, and what shows their results."""
