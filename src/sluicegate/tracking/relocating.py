"""A project that was moved or copied keeps its artefacts to itself.

MLflow writes absolute places into its database: a copy would write into the folder of the original.
So the places in a project's own store are compared with where the project is now whenever it is
opened, and follow in one transaction.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

DEFAULT_EXPERIMENT = 0
_SQLITE = "sqlite:///"


def database_file(url: str) -> Path:
    """The file of a SQLite database URL."""
    return Path(url.removeprefix(_SQLITE).split("?")[0])


def is_own(url: str, artifacts: Path) -> bool:
    """Is the database the project's own, beside its folder of artefacts?"""
    return (
        url.startswith(_SQLITE)
        and database_file(url).parent.resolve() == artifacts.parent.resolve()
    )


def relocate(url: str, artifacts: Path) -> int:
    """Make every place in a project's own store lie in `artifacts`; other stores stay.

    Returns:
        How many values were changed.

    Raises:
        SQLAlchemyError: the database is damaged, locked or read-only.
    """
    if not is_own(url, artifacts) or not database_file(url).is_file():
        return 0
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("experiments"):
            return 0
        query = sa.text("SELECT experiment_id, artifact_location FROM experiments")
        places = {row[0]: str(row[1] or "") for row in connection.execute(query)}
    here = artifacts.resolve()
    moved = {root for place in places.values() if (root := _root(place, here))}
    default = here.as_uri() + "/Default"
    astray = places.get(DEFAULT_EXPERIMENT, default) != default
    if not moved and not astray:
        return 0
    with engine.begin() as connection:
        changed = sum(_replace(connection, root, here) for root in sorted(moved))
        if astray:  # MLflow puts it below the folder in which it was first called
            statement = sa.text(
                "UPDATE experiments SET artifact_location = :place WHERE experiment_id = :id"
            )
            connection.execute(statement, {"place": default, "id": DEFAULT_EXPERIMENT})
            changed += 1
    return changed


def _root(place: str, here: Path) -> str:
    """The artefact folder of another project that `place` lies in; '' where it is `here`."""
    mark = "/" + "/".join(here.parts[-3:])
    root, found, rest = place.rpartition(mark)
    inside = bool(found) and (not rest or rest.startswith("/"))
    return root + mark if inside and root + mark not in (str(here), here.as_uri()) else ""


def _replace(connection: sa.Connection, root: str, here: Path) -> int:
    new = here.as_uri() if root.startswith("file:") else str(here)
    inspector, changed = sa.inspect(connection), 0
    for name in inspector.get_table_names():
        for column in inspector.get_columns(name):
            if not isinstance(column["type"], (sa.String, sa.Text)):
                continue
            value: sa.ColumnClause[str] = sa.column(column["name"])
            table = sa.table(name, value)
            for old, put in ((root + "/", new + "/"), (root, new)):
                whole = value == old if old == root else sa.func.instr(value, old) > 0
                statement = (
                    sa.update(table).where(whole).values({value: sa.func.replace(value, old, put)})
                )
                changed += connection.execute(statement).rowcount
    return changed
