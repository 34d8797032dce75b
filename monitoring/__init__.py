"""The conductor: scores, drift, calibration, experiments, triggers, gates. Starts with the loop; still empty."""
