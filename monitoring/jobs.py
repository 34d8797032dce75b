"""What the conductor does: every job of a leader, made anew for each, with what it needs.

Nothing here decides; a job is declared by its name, and its tick is due at the pace of the settings.
"""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from core.config import Settings
from core.store import Store
from monitoring.calibration.calibrator import Calibrator
from monitoring.drift.distance import Distance
from monitoring.drift.replies import Replies
from monitoring.drift.watches import Watches
from monitoring.drift.watchlist import all_streams
from monitoring.drift.windows import Windows
from monitoring.feedback.asking import Asking
from monitoring.feedback.quality import Quality
from monitoring.gates.conductor import Conductor
from monitoring.notices import Notices, Outbox
from monitoring.policy import Policies
from monitoring.schedule import Job
from monitoring.scoring import sources
from monitoring.scoring.scores import Scores
from monitoring.scoring.sources import Source
from monitoring.shadow.judging import Judging
from monitoring.shadow.likelihoods import Likelihoods
from monitoring.shadow.live_judge import LiveJudge
from monitoring.terms import terms
from monitoring.triggers.arming import Arming
from serving.scoring import Scorer


def jobs(settings: Settings, rules: Policies, store: Store, scorer: Scorer) -> Sequence[Job]:
    """All of them write through `store`, the store of the leader's lease. Raises ConfigError."""
    # Jobs run in threads of their own, and a generator may be used by one only.
    outbox, (resampling, ranking) = Outbox(settings.notify), np.random.default_rng().spawn(2)
    watched, conductor = all_streams(rules, ranking), Conductor(store, settings)
    ticks = {
        "scores": Scores(store, measured(settings, store, scorer), settings.monitoring).tick,
        "calibration": Calibrator(store, rules.calibration, settings, resampling).tick,
        "watches": Watches(store, watched, outbox).tick,
        "windows": Windows(store, watched, settings.drift.window).tick,
        "quality": Quality(store, terms(settings).measure).tick,
        "asking": Asking(store).tick,
        "triggers": Arming(store, rules.trigger, settings.training.method, outbox).tick,
        "likelihoods": Likelihoods(store, scorer, settings).tick,
        "judging": Judging(store, settings).tick,
        "candidates": lambda: _take_steps(conductor),
        "notices": Notices(store, settings.notify).tick,
    }
    return [Job(name, settings.monitoring.tick, tick) for name, tick in ticks.items()]


def measured(settings: Settings, store: Store, scorer: Scorer) -> Sequence[Source]:
    """Where the numbers about a scored answer come from."""
    return (
        *sources.configured(settings.calibration, scorer),
        Replies(settings.drift.refusals),
        Distance(store, settings.drift, settings.providers.embeddings),
        LiveJudge(store, settings),
    )


async def _take_steps(conductor: Conductor) -> None:
    for step in await asyncio.to_thread(conductor.tick):
        logging.getLogger("monitoring").info("%s", step)
