"""Numbers about single answers, and where they come from."""
