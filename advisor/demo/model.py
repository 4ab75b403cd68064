"""The example model: a scikit-learn classifier behind FastAPI, as a team would write it.

`python -m uvicorn advisor.demo.model:app` serves it in a process of its own. The patients are synthetic:
the columns and ranges are those of common heart-disease tables, the labels come from a noisy risk score.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sklearn.pipeline import Pipeline


class Patient(BaseModel):
    """One row; the ranges end up in `/openapi.json`, where the load test finds them."""

    age: Annotated[int, Field(ge=29, le=79)]
    sex: Annotated[int, Field(ge=0, le=1)]
    chest_pain: Annotated[int, Field(ge=0, le=3)]
    blood_pressure: Annotated[int, Field(ge=90, le=200, description="resting, mmHg")]
    cholesterol: Annotated[int, Field(ge=120, le=420, description="mg/dl")]
    max_heart_rate: Annotated[int, Field(ge=70, le=205)]
    exercise_angina: Annotated[int, Field(ge=0, le=1)]
    st_depression: Annotated[float, Field(ge=0, le=6)]


class Prediction(BaseModel):
    """The classifier's answer."""

    disease: bool
    probability: Annotated[float, Field(ge=0, le=1)]


def train(rows: int = 2000, trees: int = 300, seed: int = 7) -> Pipeline:
    """A pipeline fitted on synthetic patients; a second's work."""
    rng = np.random.default_rng(seed)
    low = np.array([29, 0, 0, 90, 120, 70, 0, 0.0])
    high = np.array([80, 2, 4, 201, 421, 206, 2, 6.0])
    patients = rng.uniform(low, high, size=(rows, low.size))
    patients[:, :7] = np.floor(patients[:, :7])
    scaled = (patients - low) / (high - low)
    risk = scaled @ np.array([1.4, 0.7, 0.9, 0.8, 0.6, -1.8, 1.1, 1.6]) - 2.6
    labels = rng.random(rows) < 1 / (1 + np.exp(-3 * risk))
    forest = RandomForestClassifier(n_estimators=trees, max_depth=8, n_jobs=1, random_state=seed)
    return make_pipeline(StandardScaler(), forest).fit(patients, labels)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pipeline = train()
    yield


app = FastAPI(title="Heart disease", version="1.0.0", lifespan=_lifespan)


@app.post("/predict")
def predict(patient: Patient) -> Prediction:
    """The probability of heart disease."""
    row = np.array([list(patient.model_dump().values())], dtype=float)
    probability = float(app.state.pipeline.predict_proba(row)[0, 1])
    return Prediction(disease=probability >= 0.5, probability=probability)


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Ready once trained."""
    return {"status": "ok"}
