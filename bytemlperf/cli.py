"""The command ``bytemlperf``: a task by its flags, or one of the subcommands."""

from __future__ import annotations

import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from bytemlperf.commands import (
    backends,
    check_backend,
    compare,
    datasets,
    models,
    new_backend,
    predict,
    run,
    selftest,
)
from bytemlperf.commands.flags import FOLDER, flag, model_flags, option_flags, preset_flag
from bytemlperf.errors import BytemlperfError


@click.group(invoke_without_command=True, context_settings={"max_content_width": 100})
@flag(
    "task",
    metavar="NAME|PATH",
    help="Task to run: a name in workloads/, a .json file, several with commas, or all.",
)
@flag("hardware_type", metavar="NAME,...", help="Backend to run it on: CPU; or several: CPU,SPU.")
@flag("compile_only", is_flag=True, help="Stop when the model is compiled; writes a report.")
@flag("show_task_list", is_flag=True, help="Print the tasks and end.")
@flag("show_hardware_list", is_flag=True, help="Print the backends and end.")
@flag("output_dir", type=FOLDER, default=Path("reports"), show_default=True, help="For reports.")
@model_flags
@flag("data_dir", type=FOLDER, help="Folder with data sets, e.g. open_squad/dev-v1.1.json.")
@flag("sample_data", is_flag=True, help="Use the package's small sample where files are missing.")
@flag("fetch", is_flag=True, help="Download the card's published checkpoint and use it.")
@preset_flag("full")
@flag("batch_sizes", metavar="N,N,...", help="Instead of the task's.")
@flag("clients", type=int, help="Instead of the task's.")
@flag("iterations", type=int, help="Queries a client, instead of the task's.")
@flag("data_percent", type=float, help="Part of the data set to score, instead of the task's.")
@flag("verify_percent", type=float, help="Part of the replies under load to check; 0 for none.")
@flag("max_duration_s", type=float, help="Bound for a batch size; 0 lifts it.")
@flag(
    "load",
    multiple=True,
    metavar="PATTERN:FIGURES:LENGTH",
    help="Add an open-loop load: constant, poisson, gamma, onoff, ramp, steps, sine, replay, "
    "arrivals or offline, e.g. poisson:100/s:30s, gamma:100/s,cv=2:500 (queries), "
    "replay:trace.csv, arrivals:gaps.py,function=gaps:1min. A sum: '(poisson:9/s + "
    "constant:1/s):30s'. One after the other: 'ramp:0/s,stop=9/s:10s then poisson:9/s:30s'. "
    "Repeatable.",
)
@flag("slo_ms", type=float, help="Objective for p99 latency; missed: exit code 4.")
@flag("seed", type=int, help="Of weights, data and arrivals.")
@option_flags
@flag("quick", is_flag=True, help="Seconds instead of minutes: two batch sizes, few queries.")
@flag("dry_run", is_flag=True, help="Say what would be done, and end.")
@flag("isolate", is_flag=True, help="Run the backend in processes of its own: a crash is a row.")
@flag(
    "backend_python",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Interpreter of those processes (implies --isolate).",
)
@flag(
    "hang_after",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="A call in one of them that takes longer has hung; default 60 (implies --isolate).",
)
@flag("require_hardware", is_flag=True, help="Refuse to run on a device model.")
@flag("debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(metadata.version("bytemlperf"))
@click.pass_context
def cli(context: click.Context, /, **flags: Any) -> None:
    """Benchmark an AI accelerator from the production side.

    \b
    bytemlperf --task digits-onnx-fp32 --hardware_type CPU
    bytemlperf --task roberta-torch-fp32 --hardware_type SPU

    Exit codes: 0 done, 1 failed, 2 usage, 3 run invalid, 4 objective missed, 5 regression,
    130 interrupted.
    """
    if context.invoked_subcommand is None:
        if len(sys.argv) == 1:
            click.echo(context.get_help())
            return
        run.run(flags)


cli.add_command(backends.backends)
cli.add_command(check_backend.check_backend)
cli.add_command(models.models)
cli.add_command(compare.compare)
cli.add_command(new_backend.new_backend)
cli.add_command(datasets.datasets)
cli.add_command(predict.predict)
cli.add_command(selftest.selftest)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code: one clear message for each error."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end saves as Ctrl-C does
    try:
        # Of click's Exit, which a command raises for its exit code, this returns the code.
        code = cli.main(args=arguments, prog_name="bytemlperf", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BytemlperfError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    if code:
        sys.exit(code)
