/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname store_lmdb_engine slipway_store_lmdb_engine
