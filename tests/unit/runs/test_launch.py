"""The processes of a stage: how they end, what they say, and when nobody waits for them any more."""

import json
import os
import sys
import time

import forks
import psutil
import pytest

from unsee.config.recipe import RECIPES, ResourcesConfig
from unsee.core.errors import ConfigError, RecordError
from unsee.runs import launch
from unsee.runtime.tasks import NotNow


def test_a_stage_is_started_as_the_documents_start_a_command():
    ddp, fsdp = (launch.launcher(ResourcesConfig(gpus=4, strategy=strategy)) for strategy in ("ddp", "fsdp"))
    start, end = [sys.executable, "-m", "accelerate.commands.launch"], ["-m", "unsee.runs.launch"]
    number = ["--num_processes", "4", "--main_process_port", "0"]
    assert ddp == [*start, "--multi_gpu", *number, *end]
    assert fsdp == [*start, "--config_file", str(RECIPES / "accelerate" / "fsdp.yaml"), *number, *end]


ENDS = {
    "an error of the user": ("ConfigError", "method.npo: no", ConfigError, "^method.npo: no$"),
    "a full disk": ("RecordError", "full", RecordError, "full"),
    "another run": ("NotNow", "", NotNow, "^$"),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_a_process_raises_reaches_the_worker(tmp_path, case):
    kind, message, raised, told = ENDS[case]
    (tmp_path / "0.json").write_text(json.dumps({"kind": kind, "message": message}))
    with pytest.raises(raised, match=told):
        launch._wait_for([sys.executable, "-c", "exit(1)"], tmp_path)


def test_a_process_that_dies_is_named_by_the_last_that_it_said(tmp_path):
    launch._wait_for([sys.executable, "-c", ""], tmp_path)
    with pytest.raises(RuntimeError, match="exit code 7: out of memory"):
        launch._wait_for([sys.executable, "-c", "print('much'); print('out of memory'); exit(7)"], tmp_path)


def _watch(worker):
    launch._end_without(psutil.Process(worker), os.getppid())


def test_processes_end_with_their_worker():
    worker = forks.process(time.sleep, (600,))
    worker.start()
    process = forks.process(_watch, (worker.pid,))
    process.start()
    process.join(2 * launch.MOMENT)
    assert process.is_alive()
    worker.kill()
    process.join(30)
    assert process.exitcode == 1
