"""The host's NIC as a port of a bridge: read (`gather`), changed under a guard (`client`, `guard`), proved,
undone.

The package imports nothing by itself: the guard is a part of it, and runs on the standard library alone.
"""
