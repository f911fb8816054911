"""Alembic's folder: how the tables of :mod:`workers.store.tables` came to be, step by step.

:func:`workers.store.migrate.migrate` takes the steps. A new one is drafted from the difference between the tables and
the database of the settings, then read and completed by hand::

    .venv/bin/alembic revision --autogenerate --rev-id 0002 -m "what changes"
"""
