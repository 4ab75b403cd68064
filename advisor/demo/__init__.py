"""`capacity-advisor demo`: the whole product on one machine, against an example model.

Three processes of their own (model, sidecar, advisor) on free loopback ports; this one only talks to the
advisor's API, as a person or a pipeline would, and shows what it answers.
"""
