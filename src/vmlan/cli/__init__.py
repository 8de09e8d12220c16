"""The command line: one verb, one module, loaded when it is used."""
