/* The external symbols of this layer as object files have them. Made by `scripts/symbols BUILD --write`. */
#pragma once

#pragma redefine_extname idempotency_add slipway_idempotency_add
#pragma redefine_extname idempotency_begin slipway_idempotency_begin
#pragma redefine_extname idempotency_begin_again slipway_idempotency_begin_again
#pragma redefine_extname idempotency_free slipway_idempotency_free
#pragma redefine_extname idempotency_key_valid slipway_idempotency_key_valid
#pragma redefine_extname idempotency_open slipway_idempotency_open
#pragma redefine_extname idempotency_release slipway_idempotency_release
#pragma redefine_extname idempotency_sweep slipway_idempotency_sweep
#pragma redefine_extname idempotency_table slipway_idempotency_table
