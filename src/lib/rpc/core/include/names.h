/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname rpc_fields_known slipway_rpc_fields_known
#pragma redefine_extname rpc_fields_next slipway_rpc_fields_next
#pragma redefine_extname rpc_normalize slipway_rpc_normalize
#pragma redefine_extname rpc_stats_handled slipway_rpc_stats_handled
#pragma redefine_extname rpc_stats_init slipway_rpc_stats_init
#pragma redefine_extname rpc_stats_started slipway_rpc_stats_started
#pragma redefine_extname rpc_text_check slipway_rpc_text_check
#pragma redefine_extname rpc_unpack_bytes slipway_rpc_unpack_bytes
#pragma redefine_extname rpc_unpacked_release slipway_rpc_unpacked_release
