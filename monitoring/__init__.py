"""The conductor: evidence, decisions, and the process that ticks. What decides is pure; what feeds it knows rows."""
