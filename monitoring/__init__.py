"""The conductor: evidence and decisions. What is here decides, purely; the process that ticks comes with the loop."""
