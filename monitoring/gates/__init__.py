"""The gates before each stage, and who takes candidates through them."""
