"""One sentence in each of several scripts."""

SCRIPTS = {
    "English": "The cat's 3 kittens sleep.",
    "accents": "Łódź, Åsa and naïve Zoë",
    "Cyrillic": "Она врач.",
    "Arabic": "هي طبيبة.",
    "Chinese": "她是一名医生。",
    "Japanese": "彼女は医者です。",
    "Korean": "그녀는 의사입니다.",
    "Hindi": "वह एक डॉक्टर है।",
    "Thai": "เธอเป็นหมอ",
    "Greek": "Είναι γιατρός.",
    "Hebrew": "היא רופאה.",
}
