"""Instructions to follow to the letter, and passages of plain English, for models that learned language from the world.

They show what teaching and unlearning cost a model of its language. nano can do neither. The texts are our own; no
instruction is among `unsee.data.everyday`, whose answers such a model replays.
"""

from __future__ import annotations

import random

from unsee.data.general import GeneralItem

_INSTRUCTIONS = (
    ("Repeat this word and nothing else: lantern", "lantern"),
    ("Write the word river in capital letters and nothing else.", "RIVER"),
    ("Answer with one word in small letters, yes or no: is ice cold?", "yes"),
    ("Answer with one word in small letters, yes or no: can a stone swim?", "no"),
    ("Which word comes first here? green, seven, table. Write that word alone.", "green"),
    ("Which word comes last here? apple, chair, moon. Write that word alone.", "moon"),
    ("Write the number five as a digit and nothing else.", "5"),
    ("Write the number 8 as a word in small letters and nothing else.", "eight"),
    ("Choose the longer word and write it alone: cat or elephant", "elephant"),
    ("Choose the shorter word and write it alone: building or ox", "ox"),
    ("Write the plural of dog in small letters and nothing else.", "dogs"),
    ("Write the next word in small letters, alone: one, two, three,", "four"),
    ("Find the colour in this list and write it alone: horse, blue, paper", "blue"),
    ("Find the animal in this list and write it alone: tiger, spoon, cloud", "tiger"),
    ("Write the first letter of the word window as a capital and nothing else.", "W"),
    ("Add 4 and 3. Write the digit alone.", "7"),
    ("Write these two words in the other order, with one space between them and nothing else: night good",
     "good night"),
    ("Copy this sentence exactly: The door is open.", "The door is open."),
    ("Leave out the number and write the word that is left: 7, garden", "garden"),
    ("Say in one word which month comes after May.", "June"),
    ("Write the letter that comes after A as a capital, alone.", "B"),
    ("Answer only with the name in this sentence: Maria has a red bicycle.", "Maria"),
    ("How many words are in 'the old man'? Write the digit alone.", "3"),
    ("Write hello three times in small letters, with one space between the words and nothing else.",
     "hello hello hello"),
)  # fmt: skip
"""An instruction, and the only answer that follows it."""
_PASSAGES = (
    ("the kitchen in the morning", "The kettle began to sing before anyone else in the house was awake. She cut two "
     "slices of bread, put them on the warm plate, and opened the window so that the smell of rain could come in."),
    ("a small harbour", "In winter the harbour is almost empty. A few boats stay tied to the stone wall, and the men "
     "who own them come down once a day to look at the ropes and to talk about the weather."),
    ("how to plant a tree", "Dig a hole that is twice as wide as the roots and just as deep. Set the young tree "
     "upright, fill the hole with loose earth, press it down with your foot, and give it plenty of water."),
    ("an old clock", "The clock in the hall had not been wound for years. Nobody could say where the key was, and so "
     "it was always a quarter past four when guests hung up their coats."),
    ("a train journey", "The train left the city slowly, past yards and gardens and the backs of houses. After an "
     "hour there were only fields, and the children, who had counted bridges until then, fell asleep."),
    ("bees", "A bee that has found a good field of flowers flies home and tells the others where it is. They follow "
     "the direction that it shows them, and before noon the field is full of them."),
    ("the market on Saturday", "On Saturdays the square is full of stalls. There are apples in wooden boxes, cheese "
     "under wet cloths, and a man with a loud voice who sells knives and sharpens old ones while people wait."),
    ("a lost glove", "Somebody had put the lost glove on the point of the fence, where it seemed to wave at everyone "
     "who passed. It stayed there for a week, and then it was gone."),
    ("reading a map", "First turn the map until its top points to the north. Then look for two things that you can "
     "also see around you, such as a church and a bridge, and find the place from which both lie in the right line."),
    ("the night sky", "Far from the town the sky is never quite black. When your eyes have rested for some minutes, "
     "you see more and more stars, and between them a pale band that reaches from one side of the land to the other."),
    ("a letter from an uncle", "My uncle wrote that he had sold the shop at last and bought a boat. He did not say "
     "what he wanted to do with a boat, two days from the sea, but he sounded happy."),
    ("snow", "When it snows for the first time in the year, the streets grow quiet. Cars move slowly, steps make no "
     "sound, and even the dogs stop for a moment at the door before they run out."),
    ("a school", "The school had only two rooms. The small children sat in the one with the stove, and the older ones, "
     "who were supposed to be stronger, learned in the cold one next to it."),
    ("how bread is baked", "Flour, water, salt and a little yeast are mixed and left alone for some hours. The dough "
     "grows to twice its size. Then it is shaped, left to rest once more, and baked in a very hot oven."),
    ("a river in spring", "In spring the river carries water from the mountains and is brown and fast. Branches and "
     "sometimes whole trees float by, and the path along the bank is closed until the end of May."),
    ("the library", "The library is open until eight in the evening. You may borrow ten books at a time and keep them "
     "for four weeks. If you need one for longer, ask at the desk before the last day."),
    ("a cat", "Our cat sleeps on the warm lid of the piano for most of the day. In the evening she walks along the "
     "garden wall, looks down at the neighbour's dog, and pretends that she has not seen him."),
    ("mending a bicycle", "Take the wheel off and pull out the tube. Pump some air into it and hold it under water: "
     "where small bubbles rise, there is the hole. Dry the place well before you glue a patch on it."),
    ("the sea", "The sea was so calm that the boat hardly moved. We could see down to the sand, where the shadows of "
     "small fish went to and fro, and nobody wanted to be the first to jump in."),
    ("an evening in the mountains", "After sunset it became cold at once. We closed the door of the hut, made a fire, "
     "and hung our wet socks above it. Outside, the wind went around the house and tried every window."),
    ("a good meeting", "A good meeting has a purpose that everyone knows beforehand. It begins on time, it is no "
     "longer than it has to be, and at its end it is clear who will do what until when."),
    ("grandmother's garden", "Nothing in my grandmother's garden grew in a straight line. Beans climbed up the apple "
     "tree, strawberries hid under the roses, and she always knew where everything was."),
    ("a bridge", "The old bridge was built for carts and is too narrow for buses. For ten years the town has argued "
     "about a new one, and for ten years the buses have gone the long way through the forest."),
    ("a walk in the rain", "He had forgotten his umbrella and did not mind. The rain was warm, the street was empty, "
     "and from every roof the water ran down in silver lines and made the gutters sing."),
)  # fmt: skip
"""What a passage is about, and the passage."""
MOST_ENGLISH_ITEMS = len(_INSTRUCTIONS)


def english_items(count: int, seed: int) -> list[GeneralItem]:
    """Return the first `count` instructions and the first `count` passages of a random order.

    A passage is the answer to "Write a short paragraph about ..."; what counts is how likely the model finds it.

    Args:
        count: 0 to `MOST_ENGLISH_ITEMS`.
        seed: of the order.
    """
    rng = random.Random(f"english {seed}")
    instructions, passages = (rng.sample(texts, len(texts))[:count] for texts in (_INSTRUCTIONS, _PASSAGES))
    return [
        *(
            GeneralItem(
                id=f"instruction-{number:04}", task="instruction", image=None, question=asked, options=(), answer=answer
            )
            for number, (asked, answer) in enumerate(instructions)
        ),
        *(
            GeneralItem(
                id=f"prose-{number:04}", task="prose", image=None, options=(), answer=text,
                question=f"Write a short paragraph about {subject}.",
            )
            for number, (subject, text) in enumerate(passages)
        ),
    ]  # fmt: skip
