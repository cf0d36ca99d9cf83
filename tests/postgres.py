"""A ledger of its own on a shared PostgreSQL server, for one test."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

SERVER = os.environ.get("SLUICE_TEST_POSTGRES", "")
needed = pytest.mark.skipif(not SERVER, reason="no PostgreSQL: `make test-postgres` starts one")


def new_schema(server: str, name: str) -> str:
    """Make the schema `name` and return an address at which nothing else is seen."""
    url = sa.engine.make_url(server)
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    return url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(
        hide_password=False
    )
