"""Commands about private questions: build data, collect answers, write pairs and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsee.cli.options import ModelName
from unsee.cli.terminal import print_table, show_progress

if TYPE_CHECKING:
    from unsee.data.documents.schema import PrivacyBenchmark

commands = typer.Typer(
    name="privacy", help="Build, answer and score private questions about pictures.", no_args_is_help=True
)
DataFolder = Annotated[Path, typer.Option(help="Folder of the benchmark.")]
ImageFolder = Annotated[
    Path | None, typer.Option(help="Folder that the image paths start from (default: the benchmark's).")
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out questions whose picture is missing, and say how many are.")
]
Format = Annotated[str, typer.Option("--benchmark", help="Format of the data (see `unsee list privacy`).")]


@commands.command("build")
def build_privacy(
    folder: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per subject and split.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    unseen_subject: Annotated[
        str | None, typer.Option(help="Subject that only tests may use (default: drawn).")
    ] = None,
) -> None:
    """Build a benchmark of invented documents.

    Writes pictures with private and benign questions, in PrivacyPair's format.
    """
    from unsee.data.documents.builder import build as write

    write(folder, images=images, seed=seed, unseen_subject=unseen_subject)
    print(folder)


@commands.command("answers")
def answer_benign(
    model: Annotated[str, typer.Argument(help="The unedited model: a shipped model's name, a folder or a hub name.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    images: ImageFolder = None,
    format: Format = "privacy_pair",
    skip_missing: SkipMissing = False,
) -> None:
    """Collect the unedited model's answers to benign questions.

    Edits learn to keep these answers. Private questions are not asked.
    """
    from unsee.exams.documents import write_answers

    benchmark = _load(format, data, images, skip_missing)
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        write_answers(VLM.load(model), benchmark, out, progress=progress)
    print(out)


@commands.command("pairs")
def write_pairs(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="JSON Lines file to write.")],
    images: ImageFolder = None,
    format: Format = "privacy_pair",
    answers: Annotated[Path | None, typer.Option(help="File that `unsee privacy answers` wrote.")] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Split to write: seen, seen_private, further_private, seen_harmless, further_harmless or validation."
        ),
    ] = "seen",
    skip_missing: SkipMissing = False,
) -> None:
    """Write the pairs of questions that `unsee edit` reads.

    Each pair is a JSON object on a line of its own.
    """
    from unsee.data.documents.export import write_pairs as write
    from unsee.exams.documents import read_answers

    benchmark = _load(format, data, images, skip_missing)
    write(read_answers(benchmark, answers) if answers else benchmark, out, split)
    print(out)


@commands.command("eval")
def evaluate_privacy(
    model: ModelName,
    data: DataFolder,
    images: ImageFolder = None,
    format: Format = "privacy_pair",
    classifier: Annotated[
        Path | None, typer.Option(help="Folder of a local text classifier, as one more judge.")
    ] = None,
    skip_missing: SkipMissing = False,
) -> None:
    """Ask a model all questions and print its refusals and leaks.

    There is one score for each judge of refusals, and a table of how often the judges agree.
    """
    from unsee.exams.documents import examine, judges_with
    from unsee.scoring.privacy import agreement_rows, score_rows

    cases = _load(format, data, images, skip_missing).cases
    judges = judges_with({"classifier": {"folder": classifier}} if classifier else {})
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        answers = examine(VLM.load(model), cases, judges, name=model, progress=progress)
    print_table(score_rows(answers))
    print_table(agreement_rows(answers))


def _load(format: str, data: Path, images: Path | None, skip_missing: bool) -> PrivacyBenchmark:
    """Return the data, and say how many missing pictures are left out."""
    from unsee.data.documents import PRIVACY

    benchmark: PrivacyBenchmark = PRIVACY.get(format)(skip_missing=skip_missing).load(data, images)
    if benchmark.skipped:
        typer.echo(f"left out {benchmark.skipped} missing pictures and the questions about them", err=True)
    return benchmark
