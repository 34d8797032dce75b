"""Two versions on the same questions, unseen: mirrored calls, judges, and what must fail."""
