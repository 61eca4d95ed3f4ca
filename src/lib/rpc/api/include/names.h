/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname rpc_check slipway_rpc_check
#pragma redefine_extname rpc_record_get slipway_rpc_record_get
#pragma redefine_extname rpc_store_error slipway_rpc_store_error
#pragma redefine_extname rpc_store_max_stale slipway_rpc_store_max_stale
#pragma redefine_extname rpc_store_read slipway_rpc_store_read
#pragma redefine_extname rpc_store_tell_age slipway_rpc_store_tell_age
