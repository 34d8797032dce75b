"""How a model is run and reached; `hone_tiny/` is the model that ships with the package."""
