"""The steps from one schema of the ledger to the next, in order; a step that was released never changes."""
