"""The process of a flow run: its command, flow and environment, none of which Prefect's database can change.

Prefect lets a run, its deployment and the work pool set a command, variables and a folder, and lets a deployment run
pull steps. The worker ignores the former and refuses the latter.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from typing import Any, Final

from anyio import TASK_STATUS_IGNORED, create_task_group
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult
from pydantic import PrivateAttr

from deployments.forked_run import ForkStarter
from deployments.local.orphans import STACK_ID_VARIABLE
from wishcraft.errors import ConfigurationError, QueryRefused
from wishcraft.invalid_values import MISSING, explain_unknown
from wishcraft.observability.logs import formatter
from wishcraft.settings import Settings, settings
from wishcraft.urls.mail import SesAccount, read_mail_url

_SYSTEM: Final = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("MPLCONFIGDIR", "XDG_CACHE_HOME", "DO_NOT_TRACK", "PIP_AUDIT_OSV_URL", STACK_ID_VARIABLE),
}
_SYSTEM_PREFIXES: Final = ("LC_", "PYTHON", "COVERAGE_", "DASK_", "OMP_", "MALLOC_")
_SETTINGS: Final = {name.upper() for name in Settings.model_fields} - {"METRICS_TOKEN"}  # which only the API needs
_SERVER_PREFIXES: Final = ("PREFECT_SERVER_", "PREFECT_API_DATABASE_")
"""Settings of Prefect's server, with its password and its database."""


class FlowRunConfiguration(ProcessJobConfiguration):
    """Start of a run's process: as every other one, with the flow that its deployment names."""

    _entrypoint: str = PrivateAttr(default="")
    _refusal: QueryRefused | None = PrivateAttr(default=None)

    def prepare_for_flow_run(
        self, flow_run: FlowRun, deployment: DeploymentResponse | None = None, *arguments: Any, **options: Any
    ) -> None:
        """Take the flow from the deployment and the environment from the worker.

        Raises:
            ConfigurationError: The deployment has pull steps, or its flow is not in an installed module.
        """
        entrypoint = deployment.entrypoint if deployment else None
        if deployment is None or not entrypoint or ":" in entrypoint or deployment.pull_steps:
            raise ConfigurationError(
                "this worker runs only flows of installed modules, without pull steps:"
                " create the deployment by `python -m deployments.prefect_setup`"
            )
        self.command, self.working_dir, self.env = None, None, {}
        super().prepare_for_flow_run(flow_run, deployment, *arguments, **options)
        config = settings()
        self.env = {name: value if is_needed(name, config) else None for name, value in self.env.items()}
        self._entrypoint = entrypoint
        self._refusal = _compare_names(flow_run.parameters, deployment.parameter_openapi_schema or {})

    @property
    def refusal(self) -> QueryRefused | None:
        """Why the run cannot start: its parameters are not those of its flow. None if they are."""
        return self._refusal

    async def execute(
        self, flow_run: FlowRun, task_status: TaskStatus[int] = TASK_STATUS_IGNORED
    ) -> ProcessWorkerResult:
        """Run the flow in a process and wait until it exits.

        Prefect's own worker reads the deployment again in that process, and runs the pull steps that it then has.
        """
        with tempfile.TemporaryDirectory(prefix="wishcraft-run-") as folder:
            async with FlowRunExecutorContext() as context:
                starter = ForkStarter(self._entrypoint, folder, self.env, context.control_channel)
                executor = context.create_executor(
                    flow_run, starter, resolve_flow=self._load_flow, propose_submitting=False
                )
                result = None

                async def submit(*, task_status: TaskStatus[Any]) -> None:
                    nonlocal result
                    result = await executor.submit(task_status)

                async with create_task_group() as group:
                    handle = await group.start(submit)
                    task_status.started(handle.pid)
        if result is None or result.status_code is None:
            raise RuntimeError("the process of the run did not start")
        return ProcessWorkerResult(status_code=result.status_code, identifier=str(result.handle.pid))

    async def _load_flow(self, _: FlowRun) -> Flow[..., Any]:
        """The flow, for the hooks of a run whose process died."""
        return await asyncio.to_thread(load_flow_from_entrypoint, self._entrypoint, use_placeholder_flow=False)


def _compare_names(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> QueryRefused | None:
    """The refusal of unknown and missing parameters; None without any, or if the deployment has no schema.

    Prefect's engine crashes on it before the flow begins. The flow itself checks the values.
    """
    known = schema.get("properties")
    if known is None:
        return None
    missing = sorted(set(schema.get("required") or ()) - parameters.keys())
    unknown = sorted(parameters.keys() - known.keys())
    reasons = [f"{name}: {MISSING}" for name in missing]
    reasons += [f"{name}: {explain_unknown(name, list(known))}" for name in unknown]
    return QueryRefused(f"invalid parameters: {'; '.join(reasons)}") if reasons else None


def log_variables(config: Settings) -> dict[str, str]:
    """Variables with which a run logs like its worker; `json` is the formatter of Prefect that takes any class."""
    kind = type(formatter(config))
    return {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
        "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": f"{kind.__module__}.{kind.__qualname__}",
        "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",
    }


def is_needed(variable: str, config: Settings) -> bool:
    """Whether a run needs the environment variable: a setting, one of Prefect's client, or one of the system.

    One of AWS if its credentials are those with which MAIL_URL sends mail.
    """
    name = variable.upper()
    if name.startswith("PREFECT_"):
        return not name.startswith(_SERVER_PREFIXES)
    if name.startswith("AWS_"):
        return _uses_aws_credentials(config)
    return name in _SETTINGS or name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)


def _uses_aws_credentials(config: Settings) -> bool:
    account = read_mail_url(config.mail_url) if config.mail_url else None
    return isinstance(account, SesAccount) and account.access_key is None
