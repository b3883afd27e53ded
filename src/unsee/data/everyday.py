"""Everyday questions and requests. A model's own answers to them are what it should still say after training.

None of them is among the questions about the world that a run asks (`unsee.data.world`).
"""

from __future__ import annotations

EVERYDAY = (
    "What is a volcano?", "Why do leaves fall in autumn?", "How does a bicycle stay upright?", "What is bread made of?",
    "Name three musical instruments.", "What do bees make?", "What is the opposite of hot?", "Why is the sea salty?",
    "Write one sentence about the moon.", "What is a dictionary for?", "How many days are in a week?",
    "What is the capital of Italy?", "Which animal barks?", "What do plants need to grow?", "Who was Isaac Newton?",
    "Give one tip for sleeping well.", "What is snow?", "List four colours.", "What is a telescope used for?",
    "Write a greeting for a friend.", "Which metal is attracted by a magnet?", "What is democracy?",
    "How do I boil an egg?", "What is the largest ocean on Earth?", "Say thank you in French.", "What is a triangle?",
    "Why do people wear coats in winter?", "What is the capital of Spain?", "Who painted the Mona Lisa?",
    "What comes after Monday?", "Explain what a library is.", "What is 2 plus 3?", "Name a country in South America.",
    "What is the boiling point of water?", "Which season follows spring?", "Describe a river in one sentence.",
    "What is a doctor?", "How many legs does an insect have?", "What is gravity?", "Write a short poem about rain.",
    "What language is spoken in Brazil?", "What is the capital of Egypt?", "Give a synonym for happy.",
    "What is photosynthesis?", "Who discovered penicillin?", "What is a computer?", "Which planet has rings?",
    "How do birds fly?", "What is the past tense of go?", "Tell me a fact about elephants.", "What is glass made of?",
    "Name two fruits that are red.", "What does a baker do?", "Where do fish live?", "What is the currency of Japan?",
    "What is a novel?", "Why do we brush our teeth?", "Name the largest country in the world.", "What is an island?",
    "Write a question about history.", "What is the square of 4?", "Who was Mozart?", "What is coffee?",
    "How is paper made?", "What is the plural of child?", "Which bird cannot fly?", "What is the heart for?",
    "Name a famous bridge.", "What do you call a young dog?", "What is a desert?", "What is the capital of Canada?",
    "Complete the sentence: The early bird", "What is soap used for?", "Which gas do we breathe out?",
    "How long is a minute?", "What is chess?", "Give an example of a mammal.", "What is a rainbow?",
    "Who was Cleopatra?", "What is the first letter of the alphabet?",
)  # fmt: skip
"""Eighty questions and requests, each a line of its own."""
