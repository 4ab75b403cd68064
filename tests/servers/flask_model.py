"""A model server of the usual kind that this project does not ship: Flask, a scikit-learn pipeline, gunicorn.

gunicorn --workers 1 --bind 127.0.0.1:8080 tests.servers.flask_model:app
"""

from __future__ import annotations

import os

import numpy as np
from flask import Flask, Response, jsonify, request
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = 12
rows, labels = make_classification(1500, FEATURES, random_state=0)
trees = int(os.environ.get("TREES", "80"))
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(trees, n_jobs=1, random_state=0)).fit(
    rows, labels
)
app = Flask(__name__)


@app.post("/predict")
def predict() -> tuple[Response, int] | Response:
    """The probability of class 1 for `{"features": [12 numbers]}`."""
    body = request.get_json(silent=True)
    features = body.get("features") if isinstance(body, dict) else None
    if not isinstance(features, list) or len(features) != FEATURES:
        return jsonify(error=f"features must be a list of {FEATURES} numbers"), 422
    probability = pipeline.predict_proba(np.array([features], dtype=float))[0, 1]
    return jsonify(probability=float(probability))
