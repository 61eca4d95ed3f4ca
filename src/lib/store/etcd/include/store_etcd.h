/* store_etcd -- the engine of etcd:// URLs: several processes over one etcd. See store.h. */
#pragma once
#include "names.h"
#include "store_engine.h"

extern const struct store_engine store_etcd_engine;
