"""The shared domain: types, lifecycle, errors, settings, the ledger. Knows no web framework and no torch."""
