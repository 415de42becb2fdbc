"""The servers that flows run on: object store, MLflow, Prefect and its workers; and the buckets."""
