"""From ledger rows to a registered candidate: the one package that trains, and the only one that loads torch."""
