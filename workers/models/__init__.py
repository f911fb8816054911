"""What the API answers with, one module a service: the shape of each resource, and how it is made of what SQL has.

Each model is a ``TypedDict`` (the OpenAPI document is made of them) beside the function that makes it of a row. The
events' payloads are the same models. Everything here is pure. Source: the model pages of the API reference.
"""
