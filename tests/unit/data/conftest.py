import pytest

from unsee.data.people.builder import build


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Twenty people and six celebrities in the published layout; read only."""
    folder = tmp_path_factory.mktemp("data") / "small"
    build(folder, people=20, celebrities=6, seed=1, image_pixels=32)
    return folder
