"""hone-tiny: the generator, the training and the evaluation of the small model that ships with Hone."""
