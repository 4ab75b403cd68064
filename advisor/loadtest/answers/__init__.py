"""Accuracy under load: answers to the same requests, without load and under it."""
