"""All that knows QEMU: what a binary can do, and its command lines."""
