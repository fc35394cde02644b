"""
A DAG of the Amazon provider's own operator and sensor, which `test_airflow.py` has Apache Airflow run.

Airflow reads this file in its own virtual environment, which knows nothing of this project. The run's configuration
gives `job_name`, `input_uri` and `output_uri`.
"""

from datetime import UTC, datetime
from typing import Any

from airflow.providers.amazon.aws.operators.bedrock import BedrockBatchInferenceOperator
from airflow.providers.amazon.aws.sensors.bedrock import BedrockBatchInferenceSensor
from airflow.sdk import DAG

AWS: dict[str, Any] = {"aws_conn_id": None, "region_name": "us-east-1"}

with DAG("batch", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    run = BedrockBatchInferenceOperator(
        task_id="run",
        job_name="{{ dag_run.conf['job_name'] }}",
        role_arn="arn:aws:iam::123456789012:role/batch",
        model_id="anthropic.claude-3-haiku-20240307-v1:0",
        input_uri="{{ dag_run.conf['input_uri'] }}",
        output_uri="{{ dag_run.conf['output_uri'] }}",
        invoke_kwargs={"tags": [{"key": "team", "value": "claims"}]},
        waiter_delay=1,
        waiter_max_attempts=120,
        **AWS,
    )
    look = BedrockBatchInferenceSensor(
        task_id="look",
        job_arn=run.output,
        success_state=BedrockBatchInferenceSensor.SuccessState.COMPLETED,
        poke_interval=1,
        **AWS,
    )
    run >> look
