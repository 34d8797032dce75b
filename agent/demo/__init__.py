"""The demo: a real Hone of its own, simulated customers, and the whole loop from drift to promotion told as it runs."""
