"""Serves a deployment's metrics over HTTP, for Prometheus to scrape."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bedrock_assets.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from bedrock_assets.metrics.collector import DeploymentCollector


def registry_of(deployment: "DeploymentCollector") -> "CollectorRegistry":
    """
    A registry with only the deployment's metrics.

    Raises:
        ConfigError: prometheus_client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry
    except ModuleNotFoundError as error:
        raise ConfigError(
            "metrics need the package prometheus-client: pip install 'bedrock-assets[metrics]'"
        ) from error
    registry = CollectorRegistry()
    registry.register(deployment)
    return registry


@contextmanager
def serving(registry: "CollectorRegistry", host: str, port: int) -> Generator[str]:
    """
    Serve on other threads until the block ends.

    Returns:
        URL of the metrics.

    Raises:
        ConfigError: The port is in use, or the host is not an address of this machine.
    """
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"metrics cannot be served on {host}, port {port}: {error}; name others with --host, --port"
        ) from error
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for_the_end(on_end: Callable[[], None]) -> None:
    """Wait for Ctrl-C or SIGTERM, which the first process of a container ignores by default."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        on_end()
