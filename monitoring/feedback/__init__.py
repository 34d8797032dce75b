"""What ratings tell and what they cannot: asking, propensities, bounds."""
