/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname rpc_check slipway_rpc_check
#pragma redefine_extname rpc_record_get slipway_rpc_record_get
