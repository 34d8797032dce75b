"""What the lab measures of the promises, with many more replicates than `make test` has time for.

It takes a quarter of an hour, so it runs with `make soak` only.
"""

import json
import subprocess

import pytest
from fixtures_command import HONE, environment

RUNS = {"aa": 10_000, "drift": 5_000, "calibration": 10_000, "bias": 2_000, "judge": 2_000}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", RUNS)
def test_no_promise_is_broken(soak: bool, name: str) -> None:
    if not soak:
        pytest.skip("many replicates take minutes; run it with --soak")
    command = [HONE, "lab", name, "--replicates", str(RUNS[name]), "--seed", "7", "--json"]
    found = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    figures = json.loads(found.stdout)["figures"]
    judged = [figure for figure in figures if figure["verdict"] and not figure["rule_of_thumb"]]
    print(name, [(figure["group"], figure["name"], figure["value"], figure["verdict"]) for figure in judged])
    assert judged
    assert [figure for figure in judged if figure["verdict"] == "broken"] == []
