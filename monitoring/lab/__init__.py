"""`hone lab`: the real decisions against simulated traffic, so that one sees what a threshold means."""
