"""Statements on hot paths, compiled once: what Django does to build and compile a query costs ten times its running.

    HELD = Rows(lambda: Task.objects.filter(id=Slot("task", UUIDField()), state="leased"))
    RENEW = Changed(HELD.query, lease_until=Slot("until", DateTimeField()))

    HELD(task=task_id)                        the rows, as the queryset would give them: a list
    RENEW(task=task_id, until=later)          how many rows were changed

The query is written in Django's own words, with a `Slot` where a value comes in. It is compiled at its first run on a
connection, and kept there. A value is prepared by its slot's field, a row converted by its fields, and all goes through
Django's cursor: transactions, wrappers and logs are as ever. A slot stands for one value: no list, and no None where
the query would have to say IS NULL.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Expression, Field, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.constants import OnConflict
from django.db.models.query import ModelIterable, ValuesListIterable
from django.db.models.signals import post_init, pre_init
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

Row = TypeVar("Row")
Columns = Sequence[Any]  # Any: of whatever types a row has
AnyField: TypeAlias = "Field[Any, Any]"  # Any: what it takes and gives; a string: not generic when it runs


class Slot(Expression):
    """Where a value comes in, under a name, each time that the statement is run."""

    def __init__(self, name: str, field: AnyField) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, list[object]]:  # type: ignore[override]  # Django's compilers take any parameter
        """A parameter that is not known yet."""
        del compiler, connection
        return "%s", [_Hole(self.name, self.output_field)]


@dataclass(frozen=True, slots=True)
class _Hole:
    name: str
    field: AnyField

    def filled(self, values: Mapping[str, object], connection: BaseDatabaseWrapper) -> object:
        value = values[self.name]
        return None if value is None else self.field.get_db_prep_save(value, connection)


@dataclass(frozen=True, slots=True)
class _Statement:
    sql: str
    parameters: Sequence[object]
    read: Callable[[Iterable[Columns]], list[Any]] = list  # Any: instances, or tuples
    """What becomes of its rows, if it has any."""


class _Prepared:
    """A statement that is compiled where it is first run."""

    def run(self, values: Mapping[str, object]) -> tuple[list[Any], int]:  # Any: as above
        """Its rows, and how many it has changed."""
        connection = connections[DEFAULT_DB_ALIAS]
        # What was compiled for a connection lives and dies with it; there are as many of those as threads.
        known: dict[_Prepared, _Statement] = vars(connection).setdefault("hansa_prepared", {})
        statement = known.get(self)
        if statement is None:
            statement = known[self] = self.compiled(connection)
        parameters: list[Any] = [
            it.filled(values, connection) if type(it) is _Hole else it for it in statement.parameters
        ]  # Any: as the database takes them
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, parameters)
            return statement.read(cursor.fetchall()) if cursor.description else [], cursor.rowcount

    def compiled(self, connection: BaseDatabaseWrapper) -> _Statement:
        """The statement in the words of this connection's database."""
        raise NotImplementedError


class Rows(_Prepared, Generic[Row]):
    """A queryset of instances, or of `values_list()` as tuples."""

    def __init__(self, query: "Callable[[], QuerySet[Any, Row]]") -> None:  # Any: of any model
        self.query = query

    def __call__(self, **values: object) -> list[Row]:
        """All rows."""
        return self.run(values)[0]

    def first(self, **values: object) -> Row | None:
        """The first row, of which there should be few: all are fetched."""
        rows = self(**values)
        return rows[0] if rows else None

    def compiled(self, connection: BaseDatabaseWrapper) -> _Statement:
        """As the queryset itself compiles, and reads its rows."""
        queryset = self.query()
        shape = queryset._iterable_class  # it has no public name
        compiler = queryset.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        if shape is ModelIterable:
            return _Statement(sql, parameters, _Instances(compiler))
        if shape is ValuesListIterable:
            return _Statement(sql, parameters, _Tuples(compiler))
        raise TypeError(f"{shape.__name__} is not known here; wanted are instances, or values_list() as tuples.")


class Changed(_Prepared):
    """An UPDATE of the rows of a queryset."""

    def __init__(self, query: "Callable[[], QuerySet[Any, Any]]", **changes: object) -> None:  # Any: of any model
        self._query = query
        self._changes = changes

    def __call__(self, **values: object) -> int:
        """How many rows were changed."""
        return self.run(values)[1]

    def compiled(self, connection: BaseDatabaseWrapper) -> _Statement:
        """As `QuerySet.update` compiles."""
        query: UpdateQuery = self._query().query.chain(UpdateQuery)  # type: ignore[assignment]  # the stubs forget the class
        query.add_update_values(self._changes)
        return _Statement(*query.get_compiler(connection=connection).as_sql())


class Added(_Prepared):
    """An INSERT of one row. What is given as no `Slot` is the same in every row: also what is a default.

    Where there is such a row, by the fields `unique`, its fields `replaced` are changed instead.
    """

    def __init__(self, row: Callable[[], Model], *, unique: Sequence[str] = (), replaced: Sequence[str] = ()) -> None:
        self._row = row
        self._unique = unique
        self._replaced = replaced

    def __call__(self, **values: object) -> None:
        """Insert it. Nothing is called of what `save()` would, and no signal is sent."""
        self.run(values)

    def compiled(self, connection: BaseDatabaseWrapper) -> _Statement:
        """As `bulk_create` compiles."""
        row, conflict = self._row(), OnConflict.UPDATE if self._unique else None
        unique, replaced = ([row._meta.get_field(name) for name in names] for names in (self._unique, self._replaced))
        query = InsertQuery(type(row), on_conflict=conflict, update_fields=replaced, unique_fields=unique)
        query.insert_values([it for it in row._meta.local_concrete_fields if not isinstance(it, AutoField)], [row])
        ((sql, parameters),) = query.get_compiler(connection=connection).as_sql()
        return _Statement(sql, parameters)


class _Tuples:
    """Rows with the types of their fields."""

    def __init__(self, compiler: SQLCompiler) -> None:
        self._compiler = compiler
        self._converters = compiler.get_converters([column[0] for column in compiler.select[: compiler.col_count]])

    def __call__(self, rows: Iterable[Columns]) -> list[Any]:  # Any: tuples
        return list(map(tuple, self._converted(rows)))

    def _converted(self, rows: Iterable[Columns]) -> Iterator[Columns]:
        return self._compiler.apply_converters(rows, self._converters) if self._converters else iter(rows)


class _Instances(_Tuples):
    """Rows as instances, with those that `select_related` names."""

    def __init__(self, compiler: SQLCompiler) -> None:
        super().__init__(compiler)
        info = compiler.klass_info
        if info is None or compiler.annotation_col_map:
            raise TypeError("Instances with annotations are not known here; use values_list().")
        self._made = _Made(info, compiler.select)

    def __call__(self, rows: Iterable[Columns]) -> list[Any]:  # Any: instances
        return [self._made.of(row) for row in self._converted(rows)]


class _Made:
    """Instances of one model in rows, each with those that it refers to.

    As Django's `from_db`, whose constructor and signals take ten times as long; nobody here listens to those.
    """

    def __init__(self, info: Mapping[str, Any], select: Sequence[Any]) -> None:  # Any: as Django's compilers say it
        self._model: type[Model] = info["model"]
        if info.get("from_parent") or any(signal.has_listeners(self._model) for signal in (pre_init, post_init)):
            raise TypeError(f"{self._model.__name__} is not made of its own columns alone; use values_list().")
        places = info["select_fields"]
        self._part = slice(places[0], places[-1] + 1)
        self._names = [column[0].target.attname for column in select[self._part]]
        self._key = places[0] + self._names.index(self._model._meta.pk.attname)
        self._related = [
            (_Made(each, select), each["local_setter"], each["remote_setter"])
            for each in info.get("related_klass_infos", ())
        ]

    def of(self, row: Columns) -> Model:
        """The instance in a row."""
        instance = self._model.__new__(self._model)
        state = ModelState()
        state.adding, state.db = False, DEFAULT_DB_ALIAS
        instance.__dict__.update(zip(self._names, row[self._part], strict=True), _state=state)
        for made, refer, refer_back in self._related:
            other = None if row[made._key] is None else made.of(row)
            refer(instance, other)
            if other is not None:
                refer_back(other, instance)
        return instance
