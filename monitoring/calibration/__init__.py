"""Whether confidence means what it says, and what it has proved to mean."""
