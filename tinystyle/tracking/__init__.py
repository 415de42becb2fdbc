"""Everything that uses MLflow: the run that a training run logs to, the model registry, and the files of a version."""
