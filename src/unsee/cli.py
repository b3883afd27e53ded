"""The command line: the only place, with `terminal`, that prints and sets up logging; it decides the exit code.

0 done, 1 crash (traceback) or, of `conformance`, a figure that is off, 2 an error of the user (one sentence), 3 no
signal, 130 interrupted. Everything heavy is imported inside the command that needs it, so that `unsee list` answers at
once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import unsee
from unsee.allocator import settle
from unsee.errors import ConfigError, UnseeError
from unsee.listing import lines_of
from unsee.terminal import ask_consent, hush, is_main_process, only_main_speaks, print_table, show_progress

Processor = Annotated[str, typer.Option(help="Whose processor, where the model comes without: a folder or a hub name.")]
OFF, USER_ERROR, NO_SIGNAL, INTERRUPTED = 1, 2, 3, 130

ModelName = Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")]
DataName = Annotated[str, typer.Option(help="A data folder in the published layout, or a name on the hub.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe's tables; may be repeated."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Send without asking; answers leave this machine.")]

models = typer.Typer(help="Look into models and convert them.", no_args_is_help=True)
app = typer.Typer(
    name="unsee",
    help="Makes vision-language models forget people, and measures how far that is from never having seen them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

edits = typer.Typer(help="List, apply and merge edits.", no_args_is_help=True)
app.add_typer(edits, name="edits")
privacy = typer.Typer(no_args_is_help=True, help="Private questions about pictures: data, answers, refusals and leaks.")
app.add_typer(privacy, name="privacy")

DataFolder = Annotated[Path, typer.Option(help="The benchmark's folder.")]
ImageFolder = Annotated[Path | None, typer.Option(help="Where its image paths start; the same folder by default.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    settle()
    try:
        with only_main_speaks():
            app(arguments)
    except UnseeError as error:
        print(f"unsee: {error}", file=sys.stderr)
        return USER_ERROR
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("unsee: interrupted; resumable: run the same command again", file=sys.stderr)
        counts = is_main_process()  # a launcher ends the others at the first code that is not 0: the main one gives it
        return stop.code if counts and isinstance(stop.code, int) else 0
    return 0


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Answer what needs no command."""
    if version:
        print(f"unsee {unsee.__version__}")
        raise typer.Exit


@app.command("run")
def run_recipe(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or the path of one (a run's config.toml too).")
    ] = "quick",
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default one under runs/.")] = None,
) -> None:
    """Teach, forget, evaluate and report, as the recipe says; continues where an interrupted run stopped."""
    from unsee.config import load_recipe

    config = load_recipe(recipe, change or ())
    with show_progress() as progress:
        from unsee.run import run

        result = run(config, out, progress)
    print_table(result.rows)
    if result.verdict == "no signal":
        print(f"unsee: no signal: {result.reason}, so nothing is ranked", file=sys.stderr)
    print(result.report)
    if result.verdict == "no signal":
        raise typer.Exit(NO_SIGNAL)


@app.command()
def unlearn(
    model: ModelName,
    forget: Annotated[Path, typer.Option(help="JSON lines with image, question, answer, person: what to forget.")],
    retain: Annotated[Path, typer.Option(help="The same: what to keep.")],
    method: Annotated[str, typer.Option(help="How; `unsee list methods`.")],
    out: Annotated[Path, typer.Option(help="The folder for the model, the figures and the report.")],
    modality: Annotated[str, typer.Option(help="Unlearn from questions with the image, in text, or both.")] = "both",
    change: Changes = None,
) -> None:
    """Make a model forget what one file says and keep what another does; needs no benchmark and no oracle."""
    from unsee.config import resolve

    with show_progress() as progress:
        from unsee.request import RequestConfig
        from unsee.request import unlearn as carry_out

        settings = {
            "forget": str(forget), "retain": str(retain), "model": {"id": model},
            "method": {method: {"modality": [modality]}},
        }  # fmt: skip
        result = carry_out(resolve(RequestConfig, settings, change or ()), out, progress)
    print_table(result.rows)
    print(result.report)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where the data goes.")],
    people: Annotated[str, typer.Option(help="How many invented people, or a CSV file of your own.")] = "500",
    portraits: Annotated[Path | None, typer.Option(help="The folder of your own people's photos.")] = None,
    celebrities: Annotated[
        str | None, typer.Option(help="How many public figures nano knows (153; none beside your own), or a CSV file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
) -> None:
    """Write people, portraits, questions and the four sets to a folder, in the published layout."""
    if people.isdecimal():
        from unsee.data.builder import build as write

        if portraits or not (celebrities or "0").isdecimal():
            raise ConfigError("--portraits and a CSV file of celebrities go with a CSV file of --people")
        write(folder, people=int(people), celebrities=int(celebrities or 153), seed=seed)
    else:
        from unsee.data.own import build_own

        if not portraits:
            raise ConfigError(f"--people {people}: needs --portraits, the folder of the photos it names")
        known = celebrities or "0"
        figures = int(known) if known.isdecimal() else Path(known)
        for line in build_own(folder, Path(people), portraits, figures, seed):
            print(line)
    print(folder)


@app.command("eval")
def evaluate(
    model: ModelName,
    data: DataName,
    forget_percent: Annotated[int, typer.Option(help="Which forget set: 5, 10 or 15.")] = 15,
    protocol: Annotated[str, typer.Option(help="How it is asked: clean or published.")] = "clean",
    processor: Processor = "",
) -> None:
    """Ask one model everything and print its value in each cell."""
    from unsee.config import EvaluationConfig, build_table

    config = build_table(EvaluationConfig, {"protocol": protocol})
    with show_progress() as progress:
        from unsee.run import evaluate_model

        rows = evaluate_model(model, data, forget_percent, progress, config, processor)
    print_table(rows)


@app.command()
def conformance(
    model: ModelName,
    data: DataName,
    expected: Annotated[
        Path | None, typer.Option(help="Stored figures (TOML); by default those of the released LLaVA-1.5-7B.")
    ] = None,
    processor: Processor = "",
) -> None:
    """Compare a model under the published protocol with stored figures; exit code 1 if one is off."""
    with show_progress() as progress:
        from unsee.conformance import EXPECTED, check_conformance

        rows = check_conformance(model, data, expected or EXPECTED, progress, processor)
    print_table(rows)
    if any(row.verdict == "fail" for row in rows):
        raise typer.Exit(OFF)


@app.command("edit")
def edit_model(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: Annotated[Path, typer.Option(help="Privacy pairs, one JSON object per line.")],
    out: Annotated[Path, typer.Option(help="Folder for edit.safetensors, and for the edited model.")],
    method: Annotated[str, typer.Option(help="A method that edits.")] = "neural_gate",
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the method; may be repeated.")
    ] = None,
    frequencies: Annotated[
        Path | None, typer.Option(help="An earlier edit whose frequencies are cut anew, not learned again.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
    whole: Annotated[bool, typer.Option("--model", help="Write the edited model too.")] = False,
) -> None:
    """Teach a model to refuse the sensitive questions of pairs and to go on answering the benign ones."""
    from unsee.config import parse_options

    options = parse_options(change or ())
    with show_progress() as progress:
        from unsee.editing import EditJob, edit_rows
        from unsee.methods.base import Work
        from unsee.stages import cache_folder

        work = Work(seed=seed, progress=progress, cache=cache_folder() / "moments")
        edit = EditJob(model, data, method, options, frequencies).run(out, work, whole=whole)
    print_table(edit_rows(edit))
    print(out / "edit.safetensors")


@edits.command("list")
def list_edits(files: Annotated[list[Path], typer.Argument(help="Edits.")]) -> None:
    """Print what edits change."""
    from unsee.editing import edit_rows
    from unsee.edits.edit import Edit

    print_table([row for file in files for row in edit_rows(Edit.load(file))])


@edits.command("apply")
def apply_edits(
    model: Annotated[str, typer.Argument(help="The model that the edits were made for.")],
    files: Annotated[list[Path], typer.Argument(help="Edits.")],
    out: Annotated[Path, typer.Option(help="The edited model's folder.")],
) -> None:
    """Write a model with edits in its weights."""
    from unsee.editing import apply_edits as write

    write(model, files, out)
    print(out)


@edits.command("merge")
def merge_edits(
    files: Annotated[list[Path], typer.Argument(help="Edits of the same model.")],
    out: Annotated[Path, typer.Option(help="The merged edit's file.")],
) -> None:
    """Add several edits up to one."""
    from unsee.edits.edit import Edit, merge

    merge([Edit.load(file) for file in files]).save(out)
    print(out)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The file, .html or .md; by default in the run's folder, or here for several.")
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Leave out names, answers and portraits.")] = False,
) -> None:
    """Write one self-contained page about one run or several."""
    from unsee.report.html import write_report

    name = "report-redacted.html" if redact else "report.html"
    print(write_report(runs, out or (runs[0] / name if len(runs) == 1 else Path(name)), redact=redact))


@app.command()
def judge(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    judge: Annotated[str, typer.Option(help="Who judges: a name of `unsee list judges`.")] = "offline",
    model: Annotated[str | None, typer.Option(help="The judging model; else UNSEE_JUDGE_MODEL.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The endpoint; else OPENAI_BASE_URL.")] = None,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens sent.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens received.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests under way at once.")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Requests started, at most.")] = None,
    timeout_seconds: Annotated[float | None, typer.Option(help="How long the endpoint may be silent.")] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON", help="Merged into every request; null removes.")] = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent and stop.")] = False,
) -> None:
    """Score how true every generated sentence of a run is, 1 to 10; the report shows it from then on."""
    from unsee.config import build_dataclass
    from unsee.judge import JUDGES
    from unsee.judge.base import RemoteJudge
    from unsee.judge.judging import judge_run, open_docket, rows

    given = {
        "model": model, "base_url": base_url, "price_in": price_in, "price_out": price_out, "concurrency": concurrency,
        "requests_per_minute": requests_per_minute, "timeout_seconds": timeout_seconds, "body": _json_object(body),
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    judging = build_dataclass(JUDGES.get(judge), options, f"judge.{judge}")
    docket = open_docket(run)
    if isinstance(judging, RemoteJudge):
        ask_consent(judging.costs(docket), yes=yes or dry_run)
    if dry_run:
        return
    with show_progress() as progress:
        factuality = judge_run(docket, judging, progress)
    print_table(rows(factuality))
    if factuality.invalid:
        print(f"unsee: {factuality.invalid} of {factuality.cases} answers got no score", file=sys.stderr)
    print(run / "report.html")


def _json_object(text: str | None) -> dict[str, object] | None:
    import json

    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--body: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError('--body: must be a JSON object, such as {"max_tokens": 8}')
    return value


@app.command()
def utility(
    model: ModelName,
    benchmark: Annotated[str, typer.Option(help="A name of `unsee list utility`.")],
    data: Annotated[str | None, typer.Option(help="A folder, or a name on the hub; else the benchmark's own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions, drawn evenly.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what --limit draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A folder for the numbers and the answers.")] = None,
    review: Annotated[bool, typer.Option("--review", help="Have UNSEE_JUDGE_MODEL grade the answers.")] = False,
    yes: Yes = False,
    processor: Processor = "",
) -> None:
    """Ask a model the questions of a published benchmark and print the published numbers."""
    from unsee.judge.asking import Asking
    from unsee.record import check_writable
    from unsee.utility import UTILITY
    from unsee.utility.evaluate import Review, check_reviewed, sit

    if review:
        from unsee.config import build_dataclass

        check_reviewed(benchmark, UTILITY.get(benchmark)())
        asking = build_dataclass(Asking, {}, "--review")
        if out is None:
            raise ConfigError("--review: keeps a journal, so that nothing is asked twice; give --out a folder")
    if out:
        check_writable(out)
    with show_progress() as progress:
        sitting = sit(model, benchmark, data, limit=limit, seed=seed, progress=progress, processor=processor)
    grades = None
    if review and out:
        reviewing = Review(sitting, asking, out)
        ask_consent(reviewing.costs, yes=yes)
        with show_progress() as progress:
            grades = reviewing.grades(progress)
    taken = sitting.score(grades)
    if out and is_main_process():
        taken.save(out)
    print_table(taken.rows)
    print(f"{taken.result.n_items} questions, {taken.result.invalid:.1%} of the answers not in the form asked for")


@privacy.command("build")
def build_privacy(
    folder: Annotated[Path, typer.Argument(help="Where the data go.")],
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per subject and split.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
    unseen_subject: Annotated[str | None, typer.Option(help="The subject left for testing; drawn by default.")] = None,
) -> None:
    """Write pictures of invented documents with private and benign questions, in PrivacyPair's format."""
    from unsee.data.privacy.builder import build as write

    write(folder, images=images, seed=seed, unseen_subject=unseen_subject)
    print(folder)


@privacy.command("answers")
def answer_benign(
    model: Annotated[str, typer.Argument(help="The unedited model: a shipped name, a folder, or a hub name.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    images: ImageFolder = None,
) -> None:
    """Let the unedited model answer the benign questions an edit uses; private ones are not asked."""
    from unsee.data.privacy.privacy_pair import load
    from unsee.privacy import write_answers

    benchmark = load(data, images)
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        write_answers(VLM.load(model), benchmark, out, progress=progress)
    print(out)


@privacy.command("pairs")
def write_pairs(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write.")],
    images: ImageFolder = None,
    answers: Annotated[Path | None, typer.Option(help="What `unsee privacy answers` wrote.")] = None,
    split: Annotated[str, typer.Option(help="Whose pairs: seen or validation.")] = "seen",
) -> None:
    """Write the pairs of PrivacyPair that an edit learns from, one per line, as `unsee edit` reads them."""
    from unsee.data.privacy.export import write_pairs as write
    from unsee.data.privacy.privacy_pair import load
    from unsee.privacy import read_answers

    benchmark = load(data, images)
    write(read_answers(benchmark, answers) if answers else benchmark, out, split)
    print(out)


@privacy.command("eval")
def evaluate_privacy(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: DataFolder,
    images: ImageFolder = None,
    benchmark: Annotated[str, typer.Option(help="The data's format: see `unsee list privacy`.")] = "privacy_pair",
    classifier: Annotated[Path | None, typer.Option(help="A local text classifier as a further judge.")] = None,
) -> None:
    """Ask one model everything; print what it refuses and gives away, by each judge, and how far the judges agree."""
    from unsee.data.privacy import PRIVACY
    from unsee.privacy import examine, judges_with
    from unsee.report.privacy import agreement_rows, score_rows

    cases = PRIVACY.get(benchmark)(data, images).cases
    judges = judges_with(classifier)
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        answers = examine(VLM.load(model), cases, judges, name=model, progress=progress)
    print_table(score_rows(answers))
    print_table(agreement_rows(answers))


@models.command("check")
def check_model(
    model: ModelName,
    change: Changes = None,
) -> None:
    """Load a model as a run would, show its parts, and let it read, write and learn once."""
    from unsee.config import load_model_config

    config = load_model_config(model, change or ())
    hush()
    from unsee.check import check

    for what, found in check(config):
        print(f"{what:<16}  {found}", flush=True)


@models.command("merge")
def merge_adapters(
    model: Annotated[str, typer.Argument(help="What was trained: a folder, or a hub name.")],
    adapters: Annotated[list[Path], typer.Argument(help="Adapters a run kept, in order: the target's, a method's.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must be new or empty.")],
    processor: Processor = "",
) -> None:
    """Write the whole model of adapters, each of which stands on those before it."""
    from unsee.config import ModelConfig

    hush()
    from unsee.models.merge import merge

    merge(ModelConfig(id=model, processor=processor), adapters, out)
    print(out)


@models.command("convert-minigpt4")
def convert_minigpt4(
    vit: Annotated[Path, typer.Option(help="The EVA tower: eva_vit_g.pth.")],
    checkpoint: Annotated[Path, typer.Option(help="MiniGPT-4's own file: pretrained_minigpt4.pth.")],
    language_model: Annotated[Path, typer.Option(help="The folder of Llama-2-7b-chat, or of Vicuna.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must be new or empty.")],
    q_former: Annotated[
        Path | None, typer.Option(help="BLIP-2's file, for the Vicuna variant: blip2_pretrained_flant5xxl.pth.")
    ] = None,
) -> None:
    """Make one model folder of MiniGPT-4's published checkpoints, reading tensors only."""
    hush()
    from unsee.models.minigpt4_convert import convert

    convert(vit, checkpoint, language_model, out, q_former=q_former)
    print(out)


@app.command("list")
def list_names(
    kind: Annotated[
        str, typer.Argument(metavar="methods|metrics|models|datasets|privacy|judges|refusals|utility|recipes")
    ],
) -> None:
    """List what can be used, one per line with what it is."""
    lines = lines_of(kind)
    width = max((len(name) for name, _ in lines), default=0)
    for name, summary in lines:
        print(f"{name:<{width}}  {summary}".rstrip())


app.add_typer(models, name="models")


if __name__ == "__main__":
    sys.exit(main())
