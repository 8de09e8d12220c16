"""Labs to start from; `vmlan init` writes them."""
