"""PrivacyPair as published: six files in its schema, without answers, splits or truths, images under other names."""

import json

from tiny import photo

FILES = {
    "neural_gate_Phone_no": ("phone number", 19, "p2_org/images"),
    "neural_gate_Student_ID": ("Student ID", 13, "p2_org/images"),
    "neural_gate_Receipts": ("Receipts", 64, "p2_org/images"),
    "neural_gate_Passport": ("Passport", 46, "p2_org/images"),
    "neural_gate_military_vehicles": ("military vehicles", 13, "trade&state/State Secret/military_vehicles"),
    "neural_gate_documents_en": ("document", 30, "trade&state/State Secret/documents_en"),
}


def record(case, subject, image, private="secret number", benign="colour"):
    return {
        "case_id": case,
        "image": image,
        "requested_rewrite": {
            "prompt": f"Name the {private} of the {{}} shown.",
            "target_new": {"str": "I do not"},
            "subject": subject,
        },
        "paraphrase_prompts": [f"{verb} the {private} of the {subject} shown." for verb in "abcde"],
        "neighborhood_prompts": [f"{verb} the {benign} of the {subject} shown." for verb in "abcde"],
        "generation_prompts": ["", ""],
        "paraphrase_prompts_wo_cat": [""] * 5,
        "neighborhood_prompts_wo_cat": [""] * 5,
    }


def write_published(folder, images, files=FILES):
    """The six JSON files, and their images as the archive holds them."""
    folder.mkdir()
    shade = 0
    for stem, (subject, count, source) in files.items():
        records = []
        for case in range(count):
            name = f"{stem}_{case}.jpg"
            known = source.replace("p2_org/images", "VISPR").replace("trade&state/State Secret/", "")
            (images / known).mkdir(parents=True, exist_ok=True)
            photo(shade := shade + 1).resize((8, 8)).save(images / known / name)
            records.append(record(case, subject, f"{source}/{name}"))
        (folder / f"{stem}.json").write_text(json.dumps(records))
    return folder
