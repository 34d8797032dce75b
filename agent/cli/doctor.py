"""`hone doctor`: looks at the machine and says what is wrong and what to do."""

import sys
from dataclasses import asdict

import typer

from agent.cli.terminal import AsJson, say, say_json
from core import config

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(as_json: AsJson = False) -> None:
    """Check this machine and say what to change.

    Exit 1 when something must be changed before Hone can work.
    """
    settings = config.load()
    from agent.cli.checkup import Finding, Grade, examine

    findings: list[Finding] = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            grade = (
                typer.style(f"{finding.grade:<5}", fg=COLOURS[finding.grade])
                if sys.stdout.isatty()
                else f"{finding.grade:<5}"
            )
            say(f"{grade} {finding.name:<12} {finding.found}")
            if finding.advice:
                say(f"      {'':<12} -> {finding.advice}")
    if as_json:
        say_json({"ok": all(f.grade is not Grade.FAIL for f in findings), "checks": [asdict(f) for f in findings]})
    if any(finding.grade is Grade.FAIL for finding in findings):
        raise typer.Exit(1)
