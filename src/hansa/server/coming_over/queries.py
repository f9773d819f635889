"""What the DLR platform's tables are called, and the questions that are asked of them.

Its server is Django with django-polymorphic: a model's row lies in `fl_server_core_model`, the rest of it in a table
per kind that shares the key. The names are those of its version 1.0.
"""

from collections.abc import Mapping
from types import MappingProxyType

MAX_BINARY = 4096
"""Bytes of a metric's value that is no number; what Hansa's own API accepts."""

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fl_server_core_user": (
            "id",
            "username",
            "password",
            "first_name",
            "last_name",
            "email",
            "is_active",
            "is_staff",
            "is_superuser",
            "date_joined",
            "last_login",
            "actor",
            "client",
            "message_endpoint",
        ),
        "fl_server_core_user_groups": ("user_id", "group_id"),
        "auth_group": ("id", "name"),
        "authtoken_token": ("key", "user_id", "created"),
        "fl_server_core_model": ("id", "owner_id", "round", "weights"),
        "fl_server_core_globalmodel": ("model_ptr_id", "name", "description", "input_shape", "preprocessing"),
        "fl_server_core_swagmodel": ("globalmodel_ptr_id", "swag_first_moment", "swag_second_moment"),
        "fl_server_core_meanmodel": ("globalmodel_ptr_id",),
        "fl_server_core_meanmodel_models": ("id", "meanmodel_id", "globalmodel_id"),
        "fl_server_core_localmodel": ("model_ptr_id", "base_model_id"),
        "fl_server_core_training": (
            "id",
            "model_id",
            "actor_id",
            "state",
            "target_num_updates",
            "last_update",
            "uncertainty_method",
            "aggregation_method",
            "options",
        ),
        "fl_server_core_training_participants": ("id", "training_id", "user_id"),
        "fl_server_core_metric": ("id", "model_id", "reporter_id", "key", "value_float", "value_binary", "step"),
    }
)
"""Table → the columns that are read."""

COLUMNS = """
    SELECT c.relname, a.attname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm') AND pg_catalog.pg_table_is_visible(c.oid)
      AND a.attnum > 0 AND NOT a.attisdropped
"""

GROUPS = "SELECT id, name FROM auth_group ORDER BY id"

USERS = """
    SELECT id, username, password, first_name, last_name, email, is_active, is_staff, is_superuser, date_joined,
           last_login, actor, client, coalesce(message_endpoint, '') AS message_endpoint
    FROM fl_server_core_user ORDER BY date_joined, id
"""

TOKENS = "SELECT key, user_id, created FROM authtoken_token ORDER BY created, key"

MEMBERSHIPS = "SELECT user_id, group_id FROM fl_server_core_user_groups ORDER BY user_id, group_id"

MODELS = """
    SELECT m.id, m.owner_id, m.round, g.name, g.description, g.input_shape,
           CASE WHEN l.model_ptr_id IS NOT NULL THEN 'local' WHEN g.model_ptr_id IS NULL THEN 'none'
                WHEN s.globalmodel_ptr_id IS NOT NULL THEN 'swag' WHEN e.globalmodel_ptr_id IS NOT NULL THEN 'mean'
                ELSE 'global' END AS kind,
           octet_length(m.weights) AS weights, octet_length(g.preprocessing) AS preprocessing,
           octet_length(s.swag_first_moment) AS first_moment, octet_length(s.swag_second_moment) AS second_moment,
           ARRAY(SELECT globalmodel_id FROM fl_server_core_meanmodel_models WHERE meanmodel_id = m.id ORDER BY id)
               AS members
    FROM fl_server_core_model m
         LEFT JOIN fl_server_core_globalmodel g ON g.model_ptr_id = m.id
         LEFT JOIN fl_server_core_swagmodel s ON s.globalmodel_ptr_id = m.id
         LEFT JOIN fl_server_core_meanmodel e ON e.globalmodel_ptr_id = m.id
         LEFT JOIN fl_server_core_localmodel l ON l.model_ptr_id = m.id
    ORDER BY m.id
"""

TRAININGS = """
    SELECT id, model_id, actor_id, state, target_num_updates, last_update, uncertainty_method, aggregation_method,
           options,
           ARRAY(SELECT user_id FROM fl_server_core_training_participants WHERE training_id = t.id ORDER BY id)
               AS participants
    FROM fl_server_core_training t ORDER BY last_update, id
"""

_MOMENTS = "key IN ('SWAG First Moment Local', 'SWAG Second Moment Local', 'SWAG Sample Size Local')"
_COMPLETE = "reporter_id IS NOT NULL AND step >= 0 AND (value_float IS NOT NULL OR value_binary IS NOT NULL)"
_SHORT = f"(value_float IS NOT NULL OR octet_length(value_binary) <= {MAX_BINARY})"

METRIC_COUNTS = f"""
    SELECT model_id, count(*) AS rows, count(*) FILTER (WHERE {_MOMENTS}) AS moments,
           count(*) FILTER (WHERE NOT {_MOMENTS} AND ({_COMPLETE}) IS NOT TRUE) AS incomplete,
           count(*) FILTER (WHERE NOT {_MOMENTS} AND {_COMPLETE} AND NOT {_SHORT}) AS too_long,
           min(step) FILTER (WHERE NOT {_MOMENTS} AND {_COMPLETE} AND {_SHORT}) AS first_step
    FROM fl_server_core_metric GROUP BY model_id
"""  # noqa: S608  # constants of this module

METRICS = f"""
    SELECT step, reporter_id, key, value_float AS value, CASE WHEN value_float IS NULL THEN value_binary END AS binary
    FROM (SELECT DISTINCT ON (step, reporter_id, key) * FROM fl_server_core_metric
          WHERE model_id = %s AND NOT {_MOMENTS} AND {_COMPLETE} AND {_SHORT}
          ORDER BY step, reporter_id, key, id DESC) latest
    ORDER BY id
"""  # noqa: S608  # constants of this module
