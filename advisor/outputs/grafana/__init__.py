"""Grafana: dashboards pushed and compared, runs marked as annotations."""

from advisor.outputs.grafana.annotations import Annotation, annotation_of
from advisor.outputs.grafana.boards import Boards, Item, State, check, push
from advisor.outputs.grafana.client import Grafana

__all__ = ["Annotation", "Boards", "Grafana", "Item", "State", "annotation_of", "check", "push"]
