"""Private questions about pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsee.cli.terminal import print_table, show_progress

commands = typer.Typer(
    name="privacy", help="Private questions about pictures: data, answers, refusals and leaks.", no_args_is_help=True
)
DataFolder = Annotated[Path, typer.Option(help="The benchmark's folder.")]
ImageFolder = Annotated[Path | None, typer.Option(help="Where its image paths start; the same folder by default.")]


@commands.command("build")
def build_privacy(
    folder: Annotated[Path, typer.Argument(help="Where the data go.")],
    images: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per subject and split.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="What everything is drawn from.")] = 0,
    unseen_subject: Annotated[str | None, typer.Option(help="The subject left for testing; drawn by default.")] = None,
) -> None:
    """Write pictures of invented documents with private and benign questions, in PrivacyPair's format."""
    from unsee.data.documents.builder import build as write

    write(folder, images=images, seed=seed, unseen_subject=unseen_subject)
    print(folder)


@commands.command("answers")
def answer_benign(
    model: Annotated[str, typer.Argument(help="The unedited model: a shipped name, a folder, or a hub name.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    images: ImageFolder = None,
) -> None:
    """Let the unedited model answer the benign questions an edit uses; private ones are not asked."""
    from unsee.data.documents.privacy_pair import load
    from unsee.exams.documents import write_answers

    benchmark = load(data, images)
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        write_answers(VLM.load(model), benchmark, out, progress=progress)
    print(out)


@commands.command("pairs")
def write_pairs(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The JSON Lines file to write.")],
    images: ImageFolder = None,
    answers: Annotated[Path | None, typer.Option(help="What `unsee privacy answers` wrote.")] = None,
    split: Annotated[str, typer.Option(help="Whose pairs: seen or validation.")] = "seen",
) -> None:
    """Write the pairs of PrivacyPair that an edit learns from, one per line, as `unsee edit` reads them."""
    from unsee.data.documents.export import write_pairs as write
    from unsee.data.documents.privacy_pair import load
    from unsee.exams.documents import read_answers

    benchmark = load(data, images)
    write(read_answers(benchmark, answers) if answers else benchmark, out, split)
    print(out)


@commands.command("eval")
def evaluate_privacy(
    model: Annotated[str, typer.Argument(help="A shipped model's name, a folder, or a hub name.")],
    data: DataFolder,
    images: ImageFolder = None,
    benchmark: Annotated[str, typer.Option(help="The data's format: see `unsee list privacy`.")] = "privacy_pair",
    classifier: Annotated[Path | None, typer.Option(help="A local text classifier as a further judge.")] = None,
) -> None:
    """Ask one model everything; print what it refuses and gives away, by each judge, and how far the judges agree."""
    from unsee.data.documents import PRIVACY
    from unsee.exams.documents import examine, judges_with
    from unsee.scoring.privacy import agreement_rows, score_rows

    cases = PRIVACY.get(benchmark)(data, images).cases
    judges = judges_with({"classifier": {"folder": classifier}} if classifier else {})
    with show_progress() as progress:
        from unsee.models.vlm import VLM

        answers = examine(VLM.load(model), cases, judges, name=model, progress=progress)
    print_table(score_rows(answers))
    print_table(agreement_rows(answers))
