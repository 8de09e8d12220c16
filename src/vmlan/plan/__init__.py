"""From a lab and facts to steps. Pure."""
