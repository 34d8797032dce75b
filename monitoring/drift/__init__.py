"""Whether traffic and answers are what they were: streams, their watches, and what moved."""
