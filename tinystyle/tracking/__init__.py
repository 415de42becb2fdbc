"""MLflow, all of it: the run that a training logs to, the model registry, and the files of a registered version."""
