"""Fit the toxicity head of `sluicegate.drift.heads` on the vectors of the packaged encoder.

Fitted on the tweets of Davidson, Warmsley, Macy and Weber 2017 (t-davidson/hate-speech-and-
offensive-language on GitHub, commit cb50f7e, MIT, `data/labeled_data.csv`): toxic are "hate speech"
(1,430) and 3,000 of "offensive language", not toxic is "neither" (4,163). Addresses and entities
are taken out of the texts. A logistic regression, its penalty chosen on a fifth that is held out.
The tweets are no part of this project; only the coefficients are, rounded to four digits.

With --hatecheck (test_suite_cases.csv) it is tried on texts of two other kinds, not fitted on.

    python benchmarks/toxicity_head.py labeled_data.csv --out src/sluicegate/drift/toxicity.json
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from pathlib import Path

import numpy as np
from drift_calibration import pairs
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from sluicegate.hashing import digest_file
from sluicegate.metrics.encoder import encoder_folder
from sluicegate.monitoring import text_encoder

OFFENSIVE = 3_000
_JUNK = re.compile(r"https?://\S+|&#\d+;|&[a-z]+;")


def texts(path: Path) -> tuple[list[str], np.ndarray]:
    """Tweets, and whether each is toxic."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    random.Random(1).shuffle(rows)
    classes = [[row for row in rows if row["class"] == name] for name in "012"]
    rows = classes[0] + classes[1][:OFFENSIVE] + classes[2]
    cleaned = [" ".join(_JUNK.sub(" ", row["tweet"]).split()) for row in rows]
    return cleaned, np.array([row["class"] != "2" for row in rows])


def area(scores: np.ndarray, toxic: np.ndarray) -> float:
    """The area under the ROC curve."""
    n, m = int(toxic.sum()), int((~toxic).sum())
    return float((rankdata(scores)[toxic].sum() - n * (n + 1) / 2) / (n * m))


def elsewhere(model: LogisticRegression, path: Path) -> None:
    """Print the areas between HateCheck's hateful texts, its others, and customers' turns."""
    encoder = text_encoder("packaged")
    assert encoder is not None
    with path.open(encoding="utf-8", newline="") as stream:
        cases = list(csv.DictReader(stream))
    hateful = np.array([case["label_gold"] == "hateful" for case in cases])
    own = model.decision_function(encoder.vectors([case["test_case"] for case in cases]))
    turns = model.decision_function(encoder.vectors([row["prompt"] for row in pairs()]))
    ours = np.concatenate([own[hateful], turns])
    first = area(ours, np.arange(len(ours)) < hateful.sum())
    print(f"AUC of hateful texts: {first:.2f} beside turns, {area(own, hateful):.2f} beside others")


def main() -> None:
    """Parse the command line, fit, and write the coefficients."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hatecheck", type=Path)
    parser.add_argument("--vectors", type=Path, help="a .npy that keeps the vectors between runs")
    asked = parser.parse_args()
    tweets, toxic = texts(asked.data)
    if asked.vectors is not None and asked.vectors.is_file():
        vectors = np.load(asked.vectors)
    else:
        encoder = text_encoder("packaged")
        assert encoder is not None
        vectors = encoder.vectors(tweets)
        if asked.vectors is not None:
            np.save(asked.vectors, vectors)
    held = np.random.default_rng(0).random(len(toxic)) < 0.2
    found = {}
    for penalty in (0.1, 0.3, 1.0, 3.0, 10.0):
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000)
        model.fit(vectors[~held], toxic[~held])
        found[penalty] = area(model.decision_function(vectors[held]), toxic[held])
        print(f"C {penalty:5}: held-out AUC {found[penalty]:.3f}")
    best = max(found, key=lambda penalty: found[penalty])
    model = LogisticRegression(C=best, class_weight="balanced", max_iter=1000).fit(vectors, toxic)
    if asked.hatecheck is not None:
        elsewhere(model, asked.hatecheck)
    (weights_file,) = encoder_folder().glob("*.safetensors")
    about = {
        "source": "Davidson et al. 2017, t-davidson/hate-speech-and-offensive-language",
        "licence": "MIT, Copyright (c) 2017 Tom Davidson",
        "fitted": "benchmarks/toxicity_head.py",
        "held_out_auc": round(found[best], 3),
        "encoder": digest_file(weights_file),
        "bias": float(f"{model.intercept_[0]:.4g}"),
        "weights": [float(f"{weight:.4g}") for weight in model.coef_[0]],
    }
    asked.out.write_text(json.dumps(about) + "\n", "utf-8")


if __name__ == "__main__":
    main()
