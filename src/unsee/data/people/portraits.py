"""Draws portraits from a description: any number of photos of the same face.

A `Look` is the same in every photo of a person (skin, hair, glasses, beard, nose); a `Scene` belongs to one photo
(clothes, expression, background). python-avatars draws and resvg renders: no download, 10 ms each, deterministic.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import python_avatars as pa
import resvg_py
from PIL import Image

from unsee.data.images import decode

Sex = Literal["female", "male"]

SKINS = {
    "pale": "PALE",
    "fair": "LIGHT",
    "tanned": "TANNED",
    "brown": "BROWN",
    "dark brown": "DARK_BROWN",
    "black": "BLACK",
}
HAIR_COLOURS = {
    "auburn": "AUBURN", "black": "BLACK", "blonde": "BLONDE", "golden": "BLONDE_GOLDEN", "brown": "BROWN",
    "pink": "PASTEL_PINK", "platinum": "PLATINUM", "red": "RED", "grey": "SILVER_GRAY",
}  # fmt: skip
FEMALE_HAIR = {
    "big wavy": "BIG_HAIR", "bob": "BOB", "bun": "BUN", "curly": "CURLY", "curvy": "CURVY", "dreadlocked": "DREADS",
    "round afro": "FRO", "shoulder-length": "LONG_NOT_TOO_LONG", "fringed": "MIA_WALLACE",
    "straight": "STRAIGHT_STRAND",
    "long side-swept": "STRAIGHT_1", "long curly": "LONG_HAIR_CURLY", "loose": "LOOSE_HAIR", "pixie": "PIXIE",
    "braided": "BRAIDS", "pigtailed": "DREADLOCKS", "mullet": "SHAGGY_MULLET",
}  # fmt: skip
MALE_HAIR = {
    "cropped": "CAESAR_SIDE_PART", "frizzled": "FRIZZLE", "shaggy": "SHAGGY", "short curly": "SHORT_CURLY",
    "short dreadlocked": "SHORT_DREADS_2", "short flat": "SHORT_FLAT", "short wavy": "SHORT_WAVED", "balding": "SIDES",
    "buzz-cut": "BUZZCUT", "cornrowed": "CORNROWS", "wild": "EINSTEIN_HAIR", "mohawk": "MOHAWK", "tousled": "MOWGLI",
    "quiff": "QUIFF", "chin-length": "WICK", "round afro": "FRO",
}  # fmt: skip
GLASSES = {
    "no glasses": "NONE", "silver glasses": "PRESCRIPTION_1", "black glasses": "PRESCRIPTION_2",
    "round glasses": "ROUND", "white sunglasses": "KURT", "sunglasses": "WAYFARERS",
}  # fmt: skip
BEARDS = {
    "no beard": "NONE", "a short beard": "BEARD_LIGHT", "a long beard": "BEARD_MAGESTIC",
    "a full beard": "BEARD_MEDIUM",
    "a thin moustache": "MOUSTACHE_FANCY", "a thick moustache": "MOUSTACHE_MAGNUM",
}  # fmt: skip
CLOTHES = {
    "blazer": "BLAZER_SHIRT", "sweater": "COLLAR_SWEATER", "hoodie": "HOODIE", "overall": "OVERALL",
    "t-shirt": "SHIRT_CREW_NECK", "v-neck shirt": "SHIRT_V_NECK",
}  # fmt: skip
COLOURS = {
    "black": "#262E33", "blue": "#3F7FD8", "green": "#2E9E5B", "orange": "#F08A24", "pink": "#FF6FB5",
    "purple": "#7E4FC4", "red": "#E0393E", "white": "#FFFFFF", "yellow": "#F7D038",
}  # fmt: skip
BACKGROUNDS = {
    "blue": "#9CC9F5", "green": "#A8DDB5", "grey": "#C9CDD2", "orange": "#FBC98E", "pink": "#F9C6DD",
    "purple": "#CBB7EA", "white": "#FAFAFA", "yellow": "#FBEFA5",
}  # fmt: skip
MOUTHS = ("DEFAULT", "SERIOUS", "SMILE", "TWINKLE", "SAD", "CONCERNED", "DISBELIEF", "EATING")
EYES = ("DEFAULT", "HAPPY", "SIDE", "SQUINT", "SURPRISED", "WINK", "CLOSED")
EYEBROWS = ("DEFAULT", "DEFAULT_NATURAL", "FLAT_NATURAL", "RAISED_EXCITED", "SAD_CONCERNED", "UP_DOWN")


@dataclass(frozen=True)
class Look:
    """The features of a person that are the same in every photo."""

    sex: Sex
    skin: str
    hair_style: str
    hair_colour: str
    glasses: str
    beard: str
    nose: str


@dataclass(frozen=True)
class Scene:
    """The features of one photo: clothes, background and expression."""

    clothes: str
    clothes_colour: str
    background: str
    mouth: str
    eyes: str
    eyebrows: str


def draw_look(rng: random.Random, sex: Sex) -> Look:
    """Draw a plausible face; every value of a visible feature is equally likely."""
    male = sex == "male"
    return Look(
        sex=sex,
        skin=rng.choice(list(SKINS)),
        hair_style=rng.choice(list(MALE_HAIR if male else FEMALE_HAIR)),
        hair_colour=rng.choice(list(HAIR_COLOURS)),
        glasses=rng.choice(list(GLASSES)),
        beard=rng.choice(list(BEARDS)) if male else "no beard",
        nose=rng.choice(("DEFAULT", "SMALL", "WIDE")),
    )


def draw_scene(rng: random.Random) -> Scene:
    """Draw clothes, expression and background of one photo."""
    return Scene(
        clothes=rng.choice(list(CLOTHES)),
        clothes_colour=rng.choice(list(COLOURS)),
        background=rng.choice(list(BACKGROUNDS)),
        mouth=rng.choice(MOUTHS),
        eyes=rng.choice(EYES),
        eyebrows=rng.choice(EYEBROWS),
    )


@lru_cache(maxsize=1)
def _hair_types() -> dict[str, pa.HairType]:
    return {member.name: member for member in pa.HairType}


def draw_portrait(look: Look, scene: Scene, size_pixels: int = 72) -> Image.Image:
    """Return the portrait as an RGB image of `size_pixels` by `size_pixels`."""
    hair = (MALE_HAIR if look.sex == "male" else FEMALE_HAIR)[look.hair_style]
    colour = pa.HairColor[HAIR_COLOURS[look.hair_colour]]
    avatar = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT,
        top=_hair_types()[hair],
        hair_color=colour,
        facial_hair=pa.FacialHairType[BEARDS[look.beard]],
        facial_hair_color=colour,
        skin_color=pa.SkinColor[SKINS[look.skin]],
        accessory=pa.AccessoryType[GLASSES[look.glasses]],
        nose=pa.NoseType[look.nose],
        clothing=pa.ClothingType[CLOTHES[scene.clothes]],
        clothing_color=COLOURS[scene.clothes_colour],
        mouth=pa.MouthType[scene.mouth],
        eyes=pa.EyeType[scene.eyes],
        eyebrows=pa.EyebrowType[scene.eyebrows],
    )
    png = resvg_py.svg_to_bytes(svg_string=avatar.render(), width=size_pixels, skip_system_fonts=True)
    background = BACKGROUNDS[scene.background]
    figure = decode(png, "the drawn figure", background)
    canvas = Image.new("RGB", (size_pixels, size_pixels), background)
    canvas.paste(figure, (0, max(0, size_pixels - figure.height)))
    return canvas
