"""
What Dagster's Helm chart makes of its values: the dagster.yaml of its pods.

Helm itself is not at hand where the tests run, so the chart's templates are followed here, key by key.
Source: helm/dagster/templates/configmap-instance.yaml and helpers/instance/*.tpl of dagster-io/dagster, 2026.
"""

import re
from pathlib import Path
from typing import Any

import yaml

POD = {
    "DAGSTER_K8S_INSTANCE_CONFIG_MAP": "dagster-instance",
    "DAGSTER_K8S_PG_PASSWORD_SECRET": "dagster-postgresql-secret",
    "DAGSTER_K8S_PIPELINE_RUN_ENV_CONFIGMAP": "dagster-pipeline-env",
}
"""Variables that the chart gives its pods."""
POSTGRES = {
    "hostname": {"env": "DAGSTER_PG_HOST"},
    "port": {"env": "DAGSTER_PG_PORT"},
    "username": {"env": "DAGSTER_PG_USER"},
    "password": {"env": "DAGSTER_PG_PASSWORD"},
    "db_name": {"env": "DAGSTER_PG_DB"},
}


def dagster_yaml(values: dict[str, Any], *, kubeconfig: Path) -> str:
    """
    The chart's dagster.yaml of *values*.

    Args:
        kubeconfig: Names the cluster, as there is none around the test.
    """
    scheme = {"scheme": values["postgresql"]["postgresqlScheme"]}
    daemon, queue = values["dagsterDaemon"], values["dagsterDaemon"]["runCoordinator"]
    instance = {
        "storage": {"postgres": {"postgres_db": scheme | POSTGRES}},
        "run_launcher": _launcher(values, kubeconfig),
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": queue["type"],
            "config": _snake(queue["config"]["queuedRunCoordinator"]),
        },
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": values["computeLogManager"]["type"],
            "config": _snake(values["computeLogManager"]["config"]["s3ComputeLogManager"]),
        },
        "run_monitoring": _snake(daemon["runMonitoring"]),
        "run_retries": _snake(daemon["runRetries"]),
        "sensors": _snake(daemon["sensors"]),
        "telemetry": values["telemetry"],
        "retention": {"sensor": {"purge_after_days": values["retention"]["sensor"]["purgeAfterDays"]}},
        "concurrency": _snake({name: values["concurrency"][name] for name in ("pools", "runs")}),
    }
    return yaml.safe_dump(instance)


def _launcher(values: dict[str, Any], kubeconfig: Path) -> dict[str, Any]:
    config = values["runLauncher"]["config"]["k8sRunLauncher"]
    made = {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
        "job_namespace": "default",
        "image_pull_policy": config["imagePullPolicy"],
        "service_account_name": "dagster",
        "dagster_home": {"env": "DAGSTER_HOME"},
        "instance_config_map": {"env": "DAGSTER_K8S_INSTANCE_CONFIG_MAP"},
        "postgres_password_secret": {"env": "DAGSTER_K8S_PG_PASSWORD_SECRET"},
        "env_config_maps": [{"env": "DAGSTER_K8S_PIPELINE_RUN_ENV_CONFIGMAP"}],
        "resources": config["resources"],
        "run_k8s_config": _snake(config["runK8sConfig"], depth=1),
    }
    return {"module": "dagster_k8s", "class": values["runLauncher"]["type"], "config": made}


def _snake(value: Any, depth: int = 9) -> Any:
    """Keys as Dagster spells them, down to a depth."""
    if not isinstance(value, dict) or depth == 0:
        return value
    return {re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower(): _snake(each, depth - 1) for key, each in value.items()}
