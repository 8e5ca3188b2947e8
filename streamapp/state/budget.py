"""What all stores of a worker share: one budget of memory, and the files that the process may have open."""

from __future__ import annotations

import ctypes
import logging
import resource
from dataclasses import dataclass
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options, WriteBufferManager

from streamapp.events import Event, log_event

log = logging.getLogger(__name__)

DEFAULT_BYTES: Final = 128 * 1024 * 1024

WRITE_BUFFER_AT_MOST: Final = 4 * 1024 * 1024
"""Bytes. Larger ones cost more than they spare: random writes of 1.6 M keys into 8 stores took 2.7 µs each of the writing thread with
8 MiB, 2.3 with 4, 1.8 with 1 (the skip list outgrows the processor's cache), compactions included about the same in all; and what a
buffer holds is replayed from the log at an open, 0.1 s for 8 MiB."""

WRITE_BUFFER_AT_LEAST: Final = 256 * 1024
"""Bytes. Below, a store writes files for the sake of files."""

ARENA_BLOCK: Final = 64 * 1024
"""Bytes that a write buffer grows by. RocksDB takes an eighth of the buffer, so that idle stores held 1 MiB each."""

FILE_BYTES: Final = 8 * 1024 * 1024
"""Of a file of the upper levels; doubled per level. RocksDB's 64 MiB have Bloom filters of 4 MB, larger than a shard of a small cache
(the 64th part of it), which never keeps them: a look-up in 3 M keys took 118 µs, with these files 6."""

LEVEL_BYTES: Final = 32 * 1024 * 1024
"""Of the first level that is sorted throughout: RocksDB's 256 MiB would be rewritten whole for every few small files."""

FILES_OF_A_STORE: Final = 8
"""Open besides its tables: log, manifest, lock, notes, two folders (6, measured), and what a flush and a compaction write."""

TABLES_AT_MOST: Final = 54
"""Table files of one store that are kept open; beyond, they are opened anew at a read."""

TABLES_AT_LEAST: Final = 10
"""RocksDB keeps no fewer."""

RESERVED_FILES: Final = 256
"""Of the process's limit for connections, the interpreter and the agents."""


@dataclass(frozen=True, slots=True)
class FilePlan:
    """How the process's open files are shared out."""

    tables: int
    """Table files that each store keeps open."""
    wanted: int
    """What the process's limit should be for all stores to have TABLES_AT_MOST."""
    needed: int
    """What the limit must be for them to have `tables`."""


def share_files(stores: int, limit: int) -> FilePlan:
    """Share `limit` open files among `stores`."""
    each = (limit - RESERVED_FILES) // max(1, stores) - FILES_OF_A_STORE
    tables = min(TABLES_AT_MOST, max(TABLES_AT_LEAST, each))
    wanted, needed = (RESERVED_FILES + stores * (FILES_OF_A_STORE + share) for share in (TABLES_AT_MOST, tables))
    return FilePlan(tables, wanted, needed)


def write_buffer_bytes(total_bytes: int, stores: int) -> int:
    """Return the size of one store's write buffer: half of `total_bytes` holds two for each, one that fills and one that is flushed."""
    return min(WRITE_BUFFER_AT_MOST, max(WRITE_BUFFER_AT_LEAST, total_bytes // 4 // max(1, stores)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RocksUsage:
    """Memory of RocksDB at one moment, in bytes."""

    budget: int
    held: int
    """All that is charged to the budget: write buffers, blocks, indices, filters."""
    pinned: int
    """Of `held`, what cannot be let go of now: write buffers, and what is being read."""
    write_buffers: int
    """Of `held`, writes that are not flushed yet."""


class RocksBudget:
    """One block cache for all stores of a worker, with the write buffers charged to it, and a share of the open files for each.

    Without it each store would have its own 8 MB cache and its own write buffers, whatever the number of stores. It is a bound that
    RocksDB keeps by flushing early, so a burst may pass it for a moment, and so may more stores than fit: each has a write buffer of
    WRITE_BUFFER_AT_LEAST. Measured, 64 stores and a million writes in 128 MiB: 82 MB, where buffers of 8 MiB each took 250 and three
    times the CPU, since the full budget had every store flush what little it held.
    """

    def __init__(self, total_bytes: int = DEFAULT_BYTES) -> None:
        self.total_bytes = total_bytes
        self._cache = Cache(total_bytes)
        self._buffers = WriteBufferManager.new_write_buffer_manager_with_cache(total_bytes // 2, False, self._cache)
        self._stores = 1
        self._tables = TABLES_AT_MOST

    def expect(self, stores: int) -> None:
        """Share the budget out among that many: all that this worker would have if it were alone. Holds for stores opened from now on.

        Raises the process's soft limit of open files where they need more; where the hard limit is in the way, the log says so.
        """
        self._stores = stores
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        plan = share_files(stores, _bounded(soft))
        if plan.wanted > _bounded(soft):
            soft = _raise_limit(min(plan.wanted, _bounded(hard)), hard, soft)
            plan = share_files(stores, soft)
        self._tables = plan.tables
        if plan.needed > _bounded(soft):
            log_event(
                log,
                logging.WARNING,
                Event.SETTING_NOTICE,
                f"{stores} table partitions may need {plan.needed} open files, and the limit is {soft}: raise it (ulimit -n, LimitNOFILE=), "
                "or a worker that gets them all fails to open some",
                stores=stores,
                limit=soft,
                needed=plan.needed,
            )

    def usage(self) -> RocksUsage:
        """Return what is used now. Any thread; some microseconds."""
        return RocksUsage(
            budget=self.total_bytes,
            held=self._cache.get_usage(),
            pinned=self._cache.get_pinned_usage(),
            write_buffers=self._buffers.get_usage(),
        )

    def options(self) -> Options:
        """Return the options of one store."""
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        # Ten bits a key: 1 % of the look-ups of absent keys, which are most of a dedupe's, read a block in vain.
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)  # else they grow with the data, outside the shared bound
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_format_version(5)  # since RocksDB 6.6: the Bloom filter that is faster and exact at any size
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(write_buffer_bytes(self.total_bytes, self._stores))
        options.set_arena_block_size(ARENA_BLOCK)
        options.set_max_write_buffer_number(3)
        # A Bloom filter over what is not yet flushed: an absent key then costs 0.3 µs, where walking the skip lists made it 0.7.
        options.set_memtable_whole_key_filtering(True)
        options.set_memtable_prefix_bloom_ratio(0.1)
        options.set_max_bytes_for_level_base(LEVEL_BYTES)
        options.set_target_file_size_base(FILE_BYTES)
        options.set_target_file_size_multiplier(2)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_max_background_jobs(2)  # the pool is the process's: more would take the agents' cores
        options.set_max_open_files(self._tables + 10)  # RocksDB takes ten off
        # One shard: RocksDB's 64 keep a file each at least, so that the bound is 64 however small it was set.
        options.set_table_cache_num_shard_bits(0)
        # A torn log is replayed up to the tear and not past it: see RocksStore on why that is enough.
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
        # RocksDB's own notes: one LOG file of 1 MB, no statistics thread.
        options.set_keep_log_file_num(1)
        options.set_max_log_file_size(1024 * 1024)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        return options


def give_back() -> None:
    """Have the C library give freed memory back to the system, where it can (glibc); 5 to 30 ms, without the GIL."""
    if _trim is not None:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def _bounded(limit: int) -> int:
    return 1_000_000 if limit == resource.RLIM_INFINITY else limit


def _raise_limit(wanted: int, hard: int, soft: int) -> int:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS refuses more than the kernel's own limit, whatever the hard one says
        return soft
    return wanted
