"""One demo from end to end: a Hone of its own is started, the story played on it, it is stopped, the report written."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from agent.cli.openai_calls import open_async_client
from agent.demo import profile, scenario, stage
from agent.demo.operations import connect
from agent.demo.record import Act, Record
from agent.demo.report import report
from agent.demo.scenario import Scenario
from agent.demo.stage import Stage
from agent.demo.story import Cast, Story
from agent.demo.telling import Telling
from agent.demo.timeline import Timeline
from agent.demo.town import Town
from agent.loop_documents import ModelDetails
from core.config import Settings
from core.errors import HoneError
from core.types import Role

REPORT, RECORD = "demo.html", "demo.json"
OPERATOR = "demo operator"


@dataclass(frozen=True, slots=True)
class Performance:
    """A demo to be: what is played, where, and who agrees. `settings` name the data folder and the port."""

    played: Scenario
    settings: Settings
    source: Path
    agree: Callable[[ModelDetails], bool]

    @property
    def report(self) -> Path:
        return self.settings.data / REPORT

    def perform(self, timeline: Timeline) -> Record:
        """Everything; the record of it. Raises HoneError, and KeyboardInterrupt after an orderly stop."""
        changes = profile.profile(
            scenario.distinct(self.played.ordinary.played),
            scenario.distinct([row for phase in self.played.shifted for row in phase.played]),
        )
        file = stage.write_profile(self.settings.data, profile.render(changes))
        record = Record(str(self.settings.data), str(self.source), changes)
        telling = Telling(record, timeline)
        try:
            with timeline:
                asyncio.run(self._play(telling, file))
                telling.end("stopped")
        except HoneError as error:
            record.ending = error.message
            raise
        finally:
            self._keep(record)
        return record

    async def _play(self, telling: Telling, file: Path) -> None:
        telling.begin(Act.START)
        async with stage.running(self.settings, file, telling.say) as running:
            telling.record.url = running.url
            telling.end("a chat is answered")
            await self._tell(running, telling)
            telling.begin(Act.STOP)

    async def _tell(self, running: Stage, telling: Telling) -> None:
        watching = connect(running.url, running.keys[Role.OPS])
        deciding = connect(running.url, await watching.make_key(OPERATOR, Role.OPS))
        async with (
            open_async_client(running.url, running.keys[Role.USER]) as customers,
            open_async_client(running.url, running.keys[Role.OPS]) as measuring,
        ):
            cast = Cast(Town(customers, telling.served), watching, measuring, deciding, self.agree)
            await Story(self.played, cast, telling).play()

    def _keep(self, record: Record) -> None:
        """The record and the report, in the data folder."""
        values = orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2)
        (self.settings.data / RECORD).write_bytes(values)
        self.report.write_text(report(record), encoding="utf-8")
