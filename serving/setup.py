"""What must be there before an engine starts: the base, its version 0 among the artifacts, and a champion.

Idempotent; the supervisor calls it for early errors, the serving process before each start.
"""

import tempfile
from pathlib import Path

from core.clock import now
from core.config import Settings
from core.errors import NotFound, SetupError
from core.lifecycle import Stage
from core.registry import Registry
from core.store import Store
from core.types import Model, Plan
from serving import base as bases
from serving.adapters import version_name, zero_adapter
from serving.artifacts import Artifacts
from serving.base import Base

ACTOR = "system:setup"
TEMPLATE_ARGUMENT = "--chat-template"


def prepare(settings: Settings, store: Store) -> Plan:
    """Make sure that the configured base has its version 0 and that the plan is on this base.

    Raises SetupError for a base that cannot be served, for data that belongs to another one, and for a champion that
    is not whole or that the engine's settings exclude.
    """
    registry = Registry(store)
    plan = registry.install(version_zero(settings), ACTOR)
    try:
        artifacts(settings).open(registry.model(plan.champion).digest)
    except NotFound as error:
        raise SetupError(f"The champion {plan.champion} is lost. {error.message}") from None
    return plan


def version_zero(settings: Settings) -> Model:
    """The zero adapter of the configured base, stored and ready to be entered as a version."""
    base = resolve(settings)
    with tempfile.TemporaryDirectory() as folder:
        zero_adapter(base, Path(folder))
        about = {"base": base.name, "base_digest": base.digest, "kind": "zero"}
        artifact = artifacts(settings).add(Path(folder), about)
    return Model(
        id=version_name(base, artifact.digest),
        created_at=now(),
        stage=Stage.CANDIDATE,
        revision=0,
        base=base.name,
        base_digest=base.digest,
        digest=artifact.digest,
        path=artifact.digest,
        manifest=artifact.manifest,
    )


def resolve(settings: Settings) -> Base:
    """The configured base; raises SetupError when it cannot be found, or cannot chat."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = bases.resolve(settings.engine.model, settings.data / "run" / "digests.json")
    if not base.chats and not any(word.startswith(TEMPLATE_ARGUMENT) for word in settings.engine.arguments):
        raise SetupError(
            f"{base.name} brings no chat template; choose a chat model, or name a template file: "
            f'engine.arguments = ["{TEMPLATE_ARGUMENT}", "FILE"].'
        )
    return base


def artifacts(settings: Settings) -> Artifacts:
    """The data folder's artifacts."""
    return Artifacts(settings.data / "artifacts", settings.engine.max_lora_rank)
