"""What Prefect's forms show of the flows."""

from __future__ import annotations

from prefect.utilities.callables import parameter_schema

from flows.ingest_coco import ingest_coco, ingest_partition


def test_the_form_reads_well() -> None:
    for flow in (ingest_coco, ingest_partition):
        properties = parameter_schema(flow).properties
        for name, about in properties.items():
            assert about["description"].endswith("."), name
        assert (properties["size"]["minimum"], properties["size"]["default"]) == (16, 256)
