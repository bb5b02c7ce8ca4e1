"""What Alembic runs the migrations in: a connection that ``migrating.py`` gives it, inside a transaction."""

from alembic import context

from cellplane.directory import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
