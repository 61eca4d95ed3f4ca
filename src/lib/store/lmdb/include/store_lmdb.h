/* store_lmdb -- the engine of lmdb:// URLs: one process on one machine, durable by LMDB. See store.h. */
#pragma once
#include "names.h"
#include "store_engine.h"

extern const struct store_engine store_lmdb_engine;
