"""Two versions on live subjects: who met which, what became of them, what that proves."""
