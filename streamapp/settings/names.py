"""The names that Faust gave: those that mean a setting of ours, those without effect here, and its unprefixed variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALIASES: Final[Mapping[str, str]] = {
    "id": "app_id",
    "url": "broker",
    "datadir": "data_dir",
    "consumer_group_instance_id": "worker_id",
    "broker_session_timeout": "session_timeout",
    "broker_heartbeat_interval": "heartbeat_interval",
    "broker_max_poll_interval": "max_poll_interval",
    "broker_commit_interval": "commit_interval",
    "broker_commit_every": "commit_every",
    "consumer_auto_offset_reset": "auto_offset_reset",
    "producer_compression_type": "producer_compression",
    "producer_max_batch_size": "producer_batch_size",
    "canonical_url": "web_url",
}
"""Faust's name -> ours. Both set in one source, and different: refused."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "broker_api_version",
        "broker_check_crcs",
        "broker_client_id",
        "broker_commit_livelock_soft_timeout",
        "broker_rebalance_timeout",
        "broker_request_timeout",
        "consumer_api_version",
        "consumer_connections_max_idle_ms",
        "consumer_metadata_max_age_ms",
        "cython_optimizations",
        "producer_api_version",
        "producer_connections_max_idle_ms",
        "producer_metadata_max_age_ms",
        "producer_request_timeout",
        "producer_threaded",
        "recovery_consistency_check",
        "stream_ack_cancelled_tasks",
        "stream_ack_exceptions",
        "stream_processing_timeout",
        "stream_publish_on_commit",
        "stream_recovery_delay",
        "stream_wait_empty",
        "table_standby_replicas",
        "topic_disable_leader",
    }
)
"""Settings of Faust that its record path or aiokafka read: accepted, named once in the log, without effect."""

_POLL_RECORDS = "has no effect here: memory is bounded by stream_buffer_maxsize, a batch by take(n)"

REFUSED: Final[Mapping[str, str]] = {
    "max_poll_records": _POLL_RECORDS,
    "broker_max_poll_records": _POLL_RECORDS,
    "producer_acks": "cannot be other than all: exactly-once rests on it",
    "producer_linger_ms": "is milliseconds: set producer_linger, seconds",
}
"""Names that are refused with a sentence of their own."""

FAUST_VARIABLES: Final = frozenset(
    {
        "AGENT_SUPERVISOR",
        "APP_DATADIR",
        "APP_DEBUG",
        "APP_ENV_PREFIX",
        "APP_ID_FORMAT",
        "APP_KEY_SERIALIZER",
        "APP_REPLY_CREATE_TOPIC",
        "APP_REPLY_EXPIRES",
        "APP_REPLY_TO_PREFIX",
        "APP_STORE",
        "APP_TABLEDIR",
        "APP_VALUE_SERIALIZER",
        "APP_VERSION",
        "APP_WEB_ENABLED",
        "APP_WEB_GRAPH_ENABLED",
        "APP_WEB_METRICS_ENABLED",
        "APP_WEB_ROUTER_ENABLED",
        "APP_WEB_STATS_ENABLED",
        "APP_WEB_TABLES_ENABLED",
        "BLOCKING_TIMEOUT",
        "BROKER_API_VERSION",
        "BROKER_CHECK_CRCS",
        "BROKER_CLIENT_ID",
        "BROKER_COMMIT_EVERY",
        "BROKER_COMMIT_INTERVAL",
        "BROKER_COMMIT_LIVELOCK_SOFT_TIMEOUT",
        "BROKER_CONSUMER_URL",
        "BROKER_CREDENTIALS",
        "BROKER_HEARTBEAT_INTERVAL",
        "BROKER_MAX_POLL_INTERVAL",
        "BROKER_MAX_POLL_RECORDS",
        "BROKER_PRODUCER_URL",
        "BROKER_REBALANCE_TIMEOUT",
        "BROKER_REQUEST_TIMEOUT",
        "BROKER_SESSION_TIMEOUT",
        "BROKER_URL",
        "CACHE_URL",
        "CONSUMER_API_VERSION",
        "CONSUMER_AUTO_OFFSET_RESET",
        "CONSUMER_CONNECTIONS_MAX_IDLE_MS",
        "CONSUMER_GROUP_INSTANCE_ID",
        "CONSUMER_MAX_FETCH_SIZE",
        "CONSUMER_METADATA_MAX_AGE_MS",
        "CRASH_APP_ON_AEROSPIKE_EXCEPTION",
        "AEROSPIKE_RETRIES_ON_EXCEPTION",
        "AEROSPIKE_SLEEP_SECONDS_BETWEEN_RETRIES_ON_EXCEPTION",
        "CYTHON_OPTIMIZATIONS",
        "NODE_CANONICAL_URL",
        "PROCESSING_GUARANTEE",
        "PRODUCER_ACKS",
        "PRODUCER_API_VERSION",
        "PRODUCER_COMPRESSION_TYPE",
        "PRODUCER_CONNECTIONS_MAX_IDLE_MS",
        "PRODUCER_LINGER",
        "PRODUCER_LINGER_MS",
        "PRODUCER_MAX_BATCH_SIZE",
        "PRODUCER_MAX_REQUEST_SIZE",
        "PRODUCER_METADATA_MAX_AGE_MS",
        "PRODUCER_REQUEST_TIMEOUT",
        "PRODUCER_THREADED",
        "RECOVERY_CONSISTENCY_CHECK",
        "STORE_CHECK_EXISTS",
        "STREAM_BUFFER_MAXSIZE",
        "STREAM_PROCESSING_TIMEOUT",
        "STREAM_RECOVERY_DELAY",
        "STREAM_WAIT_EMPTY",
        "TABLE_CLEANUP_INTERVAL",
        "TABLE_KEY_INDEX_SIZE",
        "TABLE_STANDBY_REPLICAS",
        "TIMEZONE",
        "TOPIC_ALLOW_DECLARE",
        "TOPIC_DISABLE_LEADER",
        "TOPIC_PARTITIONS",
        "TOPIC_REPLICATION_FACTOR",
        "WEB_BIND",
        "WEB_HOST",
        "WEB_PORT",
        "WORKER_REDIRECT_STDOUTS",
        "WORKER_REDIRECT_STDOUTS_LEVEL",
    }
)
"""The variables that stock Faust reads, where they beat code."""

RESERVED_PREFIXES: Final = ("STREAMAPP_TEST_", "STREAMAPP_JAVA", "STREAMAPP_KAFKA_")
"""Variables with our prefix that are no settings: the tests', and the development broker's."""
