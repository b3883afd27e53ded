"""The interface of a privacy benchmark: a format that is read into pictures and questions about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from unsee.core.errors import DataError
from unsee.data.documents.schema import PrivacyBenchmark


class PrivacyFormat(ABC):
    """A format of privacy benchmarks. It is chosen by `privacy.format`, and `privacy.source` says where the files are.

    If all its cases are of the split `out_of_domain` (`schema.out_of_domain` makes them), it goes into the recipe as
    `[privacy.out_of_domain.<name>]`: every model is asked it, and nothing is edited on it.

    Args:
        skip_missing: leave out questions whose picture is missing, and count these pictures in
            `PrivacyBenchmark.skipped`; by default a missing picture is an error.
    """

    def __init__(self, *, skip_missing: bool = False) -> None:
        self.skip_missing = skip_missing

    @abstractmethod
    def load(self, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Read a folder.

        Args:
            folder: holds the questions.
            images: the folder in which the image paths start; `folder` by default.

        Raises:
            DataError: a file, record or image cannot be used; the message says which.
        """

    def load_without(self, subject: str, folder: Path, images: Path | None = None) -> PrivacyBenchmark:
        """Read a folder and keep one subject for testing (`privacy.unseen_subject`); by default this is refused.

        Raises:
            DataError: as `load`, or the format has no subject that can be kept apart.
        """
        raise DataError(f"{folder}: data of this format have no unseen subject '{subject}'; leave unseen_subject out")
